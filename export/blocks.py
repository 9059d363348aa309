"""Stretches of layers in a graph, computed block after block of time, so that what lies between them stays in the cache.

Layers one after another on a whole signal read and write memory at each step. A module marks where a stretch begins (`enter`)
and ends (`leave`); in torch, and while it is traced, the marks do nothing. Afterwards `cut` puts what lies between them into
the body of a `Scan` over blocks, each with the samples on either side that its outputs see. Where layers see zeros beyond the
ends of the signal, and not what the layers before them make of such zeros, `within` marks the tensor.
"""

from typing import Any

import torch
from torch import Tensor

DOMAIN = "toneme"
VALUES = 1 << 18  # of a block, 1 MB: a few of them fit into a cache of the third level, and its ends are little beside it


@torch.library.custom_op("toneme::enter", mutates_args=())
def enter(x: Tensor, reach: int) -> Tensor:
    """Begin a stretch at x [batch, time, channels], whose outputs see `reach` samples on either side."""
    return x.clone()


@torch.library.custom_op("toneme::within", mutates_args=())
def within(x: Tensor) -> Tensor:
    """Take x [batch, channels, time] in a stretch as zeros beyond the ends of the signal."""
    return x.clone()


@torch.library.custom_op("toneme::leave", mutates_args=())
def leave(x: Tensor) -> Tensor:
    """End a stretch at x [batch, time, channels]."""
    return x.clone()


@enter.register_fake
def _(x: Tensor, reach: int) -> Tensor:
    return torch.empty_like(x)


@within.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


@leave.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


def translations() -> dict[Any, Any]:
    """Return how the exporter writes the marks: as operators that only `cut` knows."""
    begin, middle, end = _mark("enter", "reach"), _mark("within"), _mark("leave")
    return {
        torch.ops.toneme.enter.default: lambda x, reach: begin(x, reach=reach),
        torch.ops.toneme.within.default: lambda x: middle(x),
        torch.ops.toneme.leave.default: lambda x: end(x),
    }


def _mark(name: str, *attributes: str) -> Any:
    from onnx.defs import OpSchema
    from onnxscript.values import Op, Opset

    schema = OpSchema(
        name, DOMAIN, 1,
        inputs=[OpSchema.FormalParameter("x", "T")],
        outputs=[OpSchema.FormalParameter("y", "T")],
        type_constraints=[("T", ["tensor(float)"], "")],
        attributes=[OpSchema.Attribute(each, OpSchema.AttrType.INT) for each in attributes],
    )  # fmt: skip
    return Op(Opset(DOMAIN, 1), name, schema)


def cut(model: Any) -> None:
    """Put every marked stretch of a model of onnx_ir into a `Scan` over its blocks, in place."""
    for node in list(model.graph):
        if (node.domain, node.op_type) == (DOMAIN, "leave"):
            _cut_one(model.graph, node)
    model.opset_imports.pop(DOMAIN, None)


def _cut_one(graph: Any, end: Any) -> None:
    import onnx_ir as ir

    begin, *inner = _between(end)
    x, reach, outside = begin.inputs[0], begin.attributes["reach"].as_int(), end.inputs[0].shape[2]
    size = max(1, VALUES // x.shape[2])
    outer = _Writer(graph, end.name)
    batch, time = outer.Shape(x, start=0, end=1), outer.Shape(x, start=1, end=2)
    length = _quotient(outer, time, _quotient(outer, time, [size]))  # blocks as even as they can be
    count = _quotient(outer, time, length)
    body = _Writer(graph, f"{end.name}.block")
    number = ir.Value(name=f"{body.name}.number", shape=ir.Shape([1]), type=ir.TensorType(ir.DataType.INT64))
    window, mask = _window(body, x, number, (count, length, time), reach)
    begin.outputs[0].replace_all_uses_with(window)
    graph.remove([*inner, begin])
    for node in inner:
        if node.domain == DOMAIN:
            node.outputs[0].replace_all_uses_with(body.Mul(node.inputs[0], mask))
        else:
            body.nodes.append(node)
    kept = body.Slice(end.inputs[0], [reach], body.Add(length, [reach]), [1])
    kept.type, kept.shape = x.type, ir.Shape([1, None, outside])
    weights = _own_weights(graph, inner)
    scan = ir.Graph([number], [kept], nodes=body.nodes, initializers=weights, name=body.name)
    numbers = outer.Unsqueeze(outer.Range(0, outer.Squeeze(outer.Mul(batch, count)), 1), [1])
    found = outer.Scan(numbers, body=scan, num_scan_inputs=1)
    whole = outer.Reshape(found, outer.Concat(batch, [-1, outside], axis=0))
    end.outputs[0].replace_all_uses_with(outer.Slice(whole, [0], time, [1]), replace_graph_outputs=True)
    graph.insert_before(end, outer.nodes)
    graph.remove(end, safe=True)


def _quotient(outer: "_Writer", whole: Any, part: Any) -> Any:
    """Write the quotient rounded up."""
    return outer.Div(outer.Sub(outer.Add(whole, part), [1]), part)


def _window(body: "_Writer", x: Any, number: Any, sizes: tuple[Any, Any, Any], reach: int) -> tuple[Any, Any]:
    """Write what block `number` sees of x, zeros beyond its ends, and where it is not beyond them: 1, else 0."""
    import onnx_ir as ir

    count, length, time = sizes
    item = body.Div(number, count)
    start = body.Sub(body.Mul(body.Sub(number, body.Mul(item, count)), length), [reach])
    stop = body.Add(body.Add(start, length), [2 * reach])
    first, last = body.Max(start, [0]), body.Min(stop, time)
    ends = body.Concat(body.Sub(first, start), body.Sub(stop, last), axis=0)
    after = body.Concat(body.Add(item, [1]), last, axis=0)
    own = body.Slice(x, body.Concat(item, first, axis=0), after, [0, 1])
    ones = body.ConstantOfShape(body.Sub(last, first), value=ir.tensor([1.0], dtype=ir.DataType.FLOAT))
    return body.Pad(own, ends, None, [1]), body.Pad(ones, ends)


def _between(end: Any) -> list[Any]:
    """Return the nodes of a stretch in order, from the one that begins it."""
    found, waiting = set(), [end]
    while waiting:
        for value in waiting.pop().inputs:
            before = None if value is None else value.producer()
            if before is not None and before not in found:
                found.add(before)
                if (before.domain, before.op_type) != (DOMAIN, "enter"):
                    waiting.append(before)
    return [node for node in end.graph if node in found]


def _own_weights(graph: Any, nodes: list[Any]) -> list[Any]:
    """Take from a graph what its nodes alone use: ONNX Runtime rearranges the weights of a convolution beside them only."""
    values = {value for node in nodes for value in node.inputs if value is not None and value.is_initializer()}
    own = [value for value in values if all(user in nodes for user in value.consumers())]
    for value in own:
        graph.initializers.pop(value.name)
    return sorted(own, key=lambda value: value.name)


class _Writer:
    """Nodes in order, each written by the name of its operator; integers among the inputs become constants of `graph`."""

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
        import onnx_ir as ir

        if not isinstance(value, (int, list)):
            return value
        name = f"int.{value}"
        if name not in self.graph.initializers:
            const = ir.tensor(value, dtype=ir.DataType.INT64)
            self.graph.register_initializer(ir.Value(name=name, const_value=const))
        return self.graph.initializers[name]
