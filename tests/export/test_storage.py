"""Files of a graph: its weights in it or beside it, the same numbers either way, and nothing left of what was there."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from toneme.export.manifest import Side
from toneme.export.storage import LEAST, files_of, write_graph

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

STEPS = Side("decoder.onnx", "steps", 480)
CHUNKS = replace(STEPS, mode="chunks", chunk=25)
X = np.random.default_rng(0).standard_normal((3, 40)).astype(np.float32)
WEIGHT = np.random.default_rng(1).standard_normal((40, 50)).astype(np.float32)
SHIFT = np.array([0.5], np.float32)


@pytest.fixture
def model():
    """A product with a weight that is large enough to lie beside the graph, and a sum with one that is not."""
    assert WEIGHT.nbytes >= LEAST > SHIFT.nbytes
    helper = onnx.helper
    nodes = [helper.make_node("MatMul", ["x", "weight"], ["product"]), helper.make_node("Add", ["product", "shift"], ["y"])]
    ports = [helper.make_tensor_value_info(name, 1, [3, width]) for name, width in (("x", 40), ("y", 50))]
    weights = [onnx.numpy_helper.from_array(array, name) for array, name in ((WEIGHT, "weight"), (SHIFT, "shift"))]
    graph = helper.make_graph(nodes, "graph", ports[:1], ports[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def ran(folder: Path) -> np.ndarray:
    """Return what the graph in a folder gives."""
    session = ort.InferenceSession(str(folder / STEPS.file), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": X})[0])


def test_weights_lie_beside_a_graph_in_chunks_and_in_one_of_steps(model, tmp_path):
    write_graph(model, tmp_path, CHUNKS)
    assert [path.name for path in files_of(tmp_path, CHUNKS)] == ["decoder.data", "decoder.onnx"]
    assert (tmp_path / "decoder.data").stat().st_size >= WEIGHT.nbytes > (tmp_path / "decoder.onnx").stat().st_size
    np.testing.assert_allclose(ran(tmp_path), X @ WEIGHT + SHIFT, atol=1e-4)  # sums of 40 products in another order
    write_graph(onnx.load(str(tmp_path / "decoder.onnx")), tmp_path, STEPS)
    assert [path.name for path in tmp_path.iterdir()] == ["decoder.onnx"]
    np.testing.assert_allclose(ran(tmp_path), X @ WEIGHT + SHIFT, atol=1e-4)


def test_what_was_there_is_replaced(model, tmp_path):
    write_graph(model, tmp_path, CHUNKS)
    write_graph(onnx.load(str(tmp_path / "decoder.onnx")), tmp_path, CHUNKS)
    assert (tmp_path / "decoder.data").stat().st_size < 2 * WEIGHT.nbytes


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_who_may_read_the_graph_may_read_its_weights(model, tmp_path):
    write_graph(model, tmp_path, CHUNKS)
    assert len({path.stat().st_mode for path in files_of(tmp_path, CHUNKS)}) == 1
