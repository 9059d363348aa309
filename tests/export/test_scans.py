"""Blocks of time in a graph: what they give, joined, is what the whole gives, and zeros beyond its ends where layers follow."""

import numpy as np
import pytest

from toneme.export.functions import add_functions
from toneme.export.scans import Samples, Spans, Writer, over_blocks

ir = pytest.importorskip("onnx_ir")
ort = pytest.importorskip("onnxruntime")

FIRST, LAST = 2, 1  # samples of the output that are not wanted


def sums(outer: Writer, x: Samples, size: int, zeros: bool) -> Samples:
    """Write the sum of each sample and its neighbours, each row of the output two samples: the sum and twice the sum."""

    def write(body, seen, length):
        parts = [body.Slice(seen, [k], outer.Add(length, [k]), [1]) for k in range(3)]
        total = body.Squeeze(body.Add(body.Add(parts[0], parts[1]), parts[2]), [0])
        return lambda writer: writer.Concat(total, writer.Add(total, total), axis=1)

    spans = Spans(x.time, size, 2, 1, 2, rate=2, first=FIRST, last=LAST)
    return over_blocks(outer, x, spans, write, zeros)


def session(size: int, layers: int):
    """Return a session of layers one after another: the whole of the last one's value, and how many samples of it count."""
    x = ir.Value(name="x", shape=ir.Shape(["batch", "time", 2]), type=ir.TensorType(ir.DataType.FLOAT))
    graph = ir.Graph([x], [], nodes=[], opset_imports={"": 18}, name="sums")
    outer = Writer(graph, "outer")
    found = Samples(x, 0, outer.Shape(x, start=1, end=2), outer.Shape(x, start=0, end=1))
    for number in range(layers):
        outer.name = f"layer{number}"
        found = sums(outer, found, size, zeros=True)
    graph.extend(outer.nodes)
    for value, kind in ((found.whole, ir.DataType.FLOAT), (found.time, ir.DataType.INT64)):
        value.type = ir.TensorType(kind)
        graph.outputs.append(value)
    model = ir.to_proto(ir.Model(graph, ir_version=10))
    add_functions(model)
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def expected(x: np.ndarray) -> np.ndarray:
    padded = np.pad(x, ((0, 0), (1, 1), (0, 0)))
    total = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    samples = np.stack([total, 2 * total], axis=2).reshape(len(x), -1, 2)
    return samples[:, FIRST : samples.shape[1] - LAST]


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("time", [3, 7, 12])
@pytest.mark.parametrize("layers", [1, 2])
def test_blocks_joined_are_the_whole_between_zeros(size, time, layers):
    x = np.random.default_rng(time).standard_normal((2, time, 2)).astype(np.float32)
    whole, count = session(size, layers).run(None, {"x": x})
    for _ in range(layers):
        x = expected(x)
    assert int(count[0]) == x.shape[1]
    np.testing.assert_allclose(whole[:, FIRST : FIRST + x.shape[1]], x, atol=1e-5)
    assert not whole[:, :FIRST].any()
    assert not whole[:, FIRST + x.shape[1] :].any()


def test_numbers_are_constants_there_once():
    graph = ir.Graph([], [], nodes=[], name="g")
    writer = Writer(graph, "w")
    writer.Add(writer.Add([1], [1]), [2])
    assert sorted(graph.initializers) == ["int.[1]", "int.[2]"]
    assert [node.name for node in writer.nodes] == ["w.0", "w.1"]


def test_layers_of_one_rate_have_their_numbers_in_common():
    from onnx_ir.passes import common

    def of(layers: int) -> int:
        x = ir.Value(name="x", shape=ir.Shape(["batch", "time", 2]), type=ir.TensorType(ir.DataType.FLOAT))
        graph = ir.Graph([x], [], nodes=[], opset_imports={"": 18}, name="copies")
        outer = Writer(graph, "outer")
        found = Samples(x, 0, outer.Shape(x, start=1, end=2), outer.Shape(x, start=0, end=1))
        for number in range(layers):
            outer.name = f"layer{number}"
            spans = Spans(found.time, 4, 2, 0, 0)
            found = over_blocks(outer, found, spans, lambda body, seen, length: lambda writer: writer.Squeeze(seen, [0]), True)
        graph.extend(outer.nodes)
        graph.outputs.append(found.whole)
        model = ir.Model(graph, ir_version=10)
        common.CommonSubexpressionEliminationPass()(model)
        return len(list(model.graph))

    # what a layer after the first one adds: Shape, Spans, Scan and Reshape
    assert of(3) - of(2) == of(2) - of(1) <= 4
