"""Nodes of a graph written one after another, and a `Scan` over blocks of time whose body is written so.

Layers one after another on a whole signal read and write memory at each step; what a block of it needs stays in the cache.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


class Writer:
    """Nodes in order, each written by the name of its operator; numbers among the inputs become constants of `graph`."""

    def __init__(self, graph: Any, name: str) -> None:
        self.graph, self.name, self.nodes = graph, name, []

    def __getattr__(self, operator: str) -> Any:
        return lambda *inputs, **attributes: self._add(operator, inputs, attributes)

    def _add(self, operator: str, inputs: tuple[Any, ...], attributes: dict[str, Any]) -> Any:
        import onnx_ir as ir

        name = f"{self.name}.{len(self.nodes)}"
        node = ir.node(operator, [self._value(value) for value in inputs], attributes, name=name)
        node.outputs[0].name = name
        self.nodes.append(node)
        return node.outputs[0]

    def _value(self, value: Any) -> Any:
        if not isinstance(value, (int, list)):
            return value
        return self.constant(f"int.{value}", np.array(value, np.int64))

    def constant(self, name: str, values: np.ndarray) -> Any:
        """Return the constant of a name, which has these values wherever it is asked for."""
        if name not in self.graph.initializers:
            self.graph.register_initializer(own_constant(name, values))
        return self.graph.initializers[name]


def own_constant(name: str, values: np.ndarray) -> Any:
    """Return a constant that is in no graph yet."""
    import onnx_ir as ir

    return ir.Value(name=name, const_value=ir.tensor(values))


@dataclass(frozen=True)
class Samples:
    """Samples [batch, time, channels] in a longer value whose other samples are zeros.

    Attributes:
        whole: the value.
        first: of its samples that counts.
        time: how many do, a value [1].
    """

    whole: Any
    first: int
    time: Any


@dataclass(frozen=True)
class Block:
    """What the body of a `Scan` knows of its block, each a value [1].

    Attributes:
        item: of the batch.
        start: its first row.
        length: how many rows it has, the last ones beyond the end.
    """

    item: Any
    start: Any
    length: Any


@dataclass(frozen=True)
class Shape:
    """What comes out of blocks: `rows` (a value [1]) of `rate` samples, the first and last of which are not wanted.

    Attributes:
        width: channels of a sample.
        size: rows of a block, about: blocks are as even as they can be.
        step: that the rows of a block are a multiple of.
    """

    rows: Any
    rate: int
    first: int
    last: int
    width: int
    size: int
    step: int


def over_blocks(
    outer: Writer,
    x: Samples,
    shape: Shape,
    write: Callable[[Writer, Block], Callable[[Writer], Any]],
    zeros: bool,
    weights: Sequence[Any] = (),
) -> Samples:
    """Write a `Scan` and return what its blocks give, joined.

    Args:
        outer: where it stands.
        x: what its body works on.
        shape: of what comes out.
        write: the body; returns what writes its last node, which gives the samples in any shape of two axes.
        zeros: samples that are not wanted are to be zeros.
        weights: of the body itself.
    """
    import onnx_ir as ir

    even = _quotient(outer, shape.rows, _quotient(outer, shape.rows, [shape.size]))
    length = even if shape.step == 1 else outer.Mul(_quotient(outer, even, [shape.step]), [shape.step])
    batch, count = outer.Shape(x.whole, start=0, end=1), _quotient(outer, shape.rows, length)
    stop = outer.Sub(outer.Mul(shape.rows, [shape.rate]), [shape.last])
    body = Writer(outer.graph, f"{outer.name}.block")
    number = ir.Value(name=f"{body.name}.number", shape=ir.Shape([1]), type=ir.TensorType(ir.DataType.INT64))
    item = body.Div(number, count)
    block = Block(item, body.Mul(body.Sub(number, body.Mul(item, count)), length), length)
    last = write(body, block)
    kept = _zeros_beyond(body, block, shape, stop, last) if zeros else last(body)
    kept.type = x.whole.type
    scan = ir.Graph([number], [kept], nodes=body.nodes, initializers=weights, name=body.name)
    numbers = outer.Unsqueeze(outer.Range(0, outer.Squeeze(outer.Mul(batch, count)), 1), [1])
    found = outer.Scan(numbers, body=scan, num_scan_inputs=1)
    whole = outer.Reshape(found, outer.Concat(batch, [-1, shape.width], axis=0))
    return Samples(whole, shape.first, outer.Sub(stop, [shape.first]))


def _quotient(outer: Writer, whole: Any, part: Any) -> Any:
    """Write the quotient rounded up."""
    return outer.Div(outer.Sub(outer.Add(whole, part), [1]), part)


def _zeros_beyond(body: Writer, block: Block, shape: Shape, stop: Any, last: Callable[[Writer], Any]) -> Any:
    """Write the last node of a block, and in blocks at an end zeros in place of what is not wanted.

    What a layer after it sees beyond the ends is right then, and nothing of the whole length is copied to cut it.
    """
    import onnx_ir as ir

    begin = body.Mul(block.start, [shape.rate])
    end = body.Add(begin, body.Mul(block.length, [shape.rate]))
    inner, edge = Writer(body.graph, f"{body.name}.inner"), Writer(body.graph, f"{body.name}.edge")
    given, made = last(inner), last(edge)
    places = edge.Range(edge.Squeeze(begin), edge.Squeeze(end), 1)
    wanted = edge.And(edge.GreaterOrEqual(places, [shape.first]), edge.Less(places, stop))
    mask = edge.Unsqueeze(edge.Cast(wanted, to=ir.DataType.FLOAT), [1])
    masked = edge.Reshape(edge.Mul(edge.Reshape(made, [-1, shape.width]), mask), edge.Shape(made))
    branches = [ir.Graph([], [value], nodes=part.nodes, name=part.name) for part, value in ((edge, masked), (inner, given))]
    for value in (masked, given):
        value.type = ir.TensorType(ir.DataType.FLOAT)
    at_end = body.Or(body.Less(begin, [shape.first]), body.Greater(end, stop))
    return body.If(at_end, then_branch=branches[0], else_branch=branches[1])


def window(body: Writer, x: Samples, item: Any, first: Any, stop: Any) -> Any:
    """Write samples `first` to `stop` of an item, zeros beyond its ends: [1, stop - first, channels]."""
    batch, time = body.Shape(x.whole, start=0, end=1), body.Shape(x.whole, start=1, end=2)
    if x.first:
        first, stop = body.Add(first, [x.first]), body.Add(stop, [x.first])
    after = body.Concat(body.Sub(body.Add(item, [1]), batch), body.Sub(stop, time), axis=0)
    ends = body.Concat(body.Neg(item), body.Neg(first), after, axis=0)  # less than nothing is added where there is more
    return body.Pad(x.whole, ends, None, [0, 1])
