"""Nodes of a graph written one after another, and a `Scan` over blocks of time whose body is written so.

Layers one after another on a whole signal read and write memory at each step; what a block of it needs stays in the cache.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .functions import DOMAIN, SIGNATURES


class Writer:
    """Nodes in order, each written by the name of its operator; numbers among the inputs become constants of `graph`."""

    def __init__(self, graph: Any, name: str) -> None:
        self.graph, self.name, self.nodes = graph, name, []

    def __getattr__(self, operator: str) -> Any:
        return lambda *inputs, **attributes: self._add(operator, inputs, attributes)

    def _add(self, operator: str, inputs: tuple[Any, ...], attributes: dict[str, Any]) -> Any:
        import onnx_ir as ir

        name = f"{self.name}.{len(self.nodes)}"
        given = SIGNATURES[operator][1] if operator in SIGNATURES else ["y"]
        values, domain = [self._value(value) for value in inputs], DOMAIN if operator in SIGNATURES else ""
        node = ir.node(operator, values, attributes, domain=domain, name=name, num_outputs=len(given))
        for output, end in zip(node.outputs, given, strict=True):
            output.name = name if len(given) == 1 else f"{name}.{end}"
        self.nodes.append(node)
        return node.outputs[0] if len(given) == 1 else node.outputs

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
        batch: how many items there are, a value [1].
    """

    whole: Any
    first: int
    time: Any
    batch: Any


@dataclass(frozen=True)
class Spans:
    """How the work is shared out: rows of output, and the samples that they see.

    Attributes:
        rows: how many there are, a value [1].
        size: rows of a block, about: blocks are as even as they can be.
        step: that the rows of a block are a multiple of.
        stride: samples of the input from a row to the next one.
        lead: samples before its first row that a block sees, zeros beyond the ends.
        extra: samples that it sees beyond `stride` for each row, those before it included.
        rate: samples of the output that a row gives.
        first, last: of all these samples, those not wanted.
        width: channels of one.
    """

    rows: Any
    size: int
    width: int
    lead: int
    extra: int
    step: int = 1
    stride: int = 1
    rate: int = 1
    first: int = 0
    last: int = 0


Body = Callable[[Writer, Any, Any], Callable[[Writer], Any]]


def over_blocks(outer: Writer, x: Samples, spans: Spans, write: Body, zeros: bool, weights: Sequence[Any] = ()) -> Samples:
    """Write a `Scan` and return what its blocks give, joined.

    Args:
        outer: where it stands.
        x: what its body works on.
        spans: of rows and samples.
        write: the body: given a writer, what a block sees [1, samples, channels] and the rows of a block [1], returns what
            writes its last node, which gives the samples in any shape of two axes.
        zeros: samples that are not wanted are to be zeros.
        weights: of the body itself.
    """
    import onnx_ir as ir

    whole = outer.Shape(x.whole, start=1, end=2)
    told, begun, at_an_end, length, stop = outer.Spans(
        spans.rows, x.batch, whole, size=spans.size, step=spans.step, stride=spans.stride, rate=spans.rate,
        shift=spans.lead - x.first, extra=spans.extra, first=spans.first, last=spans.last,
    )  # fmt: skip
    body = Writer(outer.graph, f"{outer.name}.block")
    ends, begin, at_end = (_entering(f"{body.name}.{name}", name == "at_end") for name in ("ends", "begin", "at_end"))
    last = write(body, body.Pad(x.whole, ends, None, [0, 1]), length)
    given = [(ends, told), (begin, begun), (at_end, at_an_end)] if zeros else [(ends, told)]
    kept = _zeros_beyond(body, begin, at_end, spans, stop, last) if zeros else last(body)
    _known(kept)
    scan = ir.Graph([name for name, _ in given], [kept], nodes=body.nodes, initializers=weights, name=body.name)
    found = outer.Scan(*(values for _, values in given), body=scan, num_scan_inputs=len(given))
    joined = outer.Reshape(found, outer.Concat(x.batch, [-1, spans.width], axis=0))
    # by the same name where there are as many as before: layers of one rate then have most numbers in common
    same = spans.rows is x.time and (spans.rate, spans.first, spans.last) == (1, 0, 0)
    return Samples(joined, spans.first, x.time if same else outer.Sub(stop, [spans.first]), x.batch)


def _known(value: Any) -> None:
    """Say of what a block gives that it has two axes: behind operators of ours, versions before 1.31 do not find out."""
    import onnx_ir as ir

    value.type, value.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape([None, None])


def _entering(name: str, boolean: bool) -> Any:
    """Return a value that a body takes of each block."""
    import onnx_ir as ir

    return ir.Value(name=name, type=ir.TensorType(ir.DataType.BOOL if boolean else ir.DataType.INT64))


def _zeros_beyond(body: Writer, begin: Any, at_end: Any, spans: Spans, stop: Any, last: Callable[[Writer], Any]) -> Any:
    """Write the last node of a block, and in blocks at an end zeros in place of what is not wanted.

    What a layer after it sees beyond the ends is right then, and nothing of the whole length is copied to cut it.
    """
    import onnx_ir as ir

    inner, edge = Writer(body.graph, f"{body.name}.inner"), Writer(body.graph, f"{body.name}.edge")
    given, made = last(inner), edge.Between(last(edge), begin, stop, first=spans.first, width=spans.width)
    branches = [ir.Graph([], [value], nodes=part.nodes, name=part.name) for part, value in ((edge, made), (inner, given))]
    _known(made)
    _known(given)
    return body.If(at_end, then_branch=branches[0], else_branch=branches[1])
