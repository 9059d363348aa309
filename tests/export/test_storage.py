"""Files of a graph: its weights in it or beside it, the same numbers either way, and nothing left of what was there."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from toneme.export import storage
from toneme.export.manifest import Side
from toneme.export.storage import ALIGNED, FILES, LEAST, beside, files_of, weights_in, write_graph

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


def test_so_do_those_of_a_large_graph_of_steps(model, tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "WITHIN", WEIGHT.nbytes)
    write_graph(model, tmp_path, STEPS)
    assert [path.name for path in files_of(tmp_path, STEPS)] == ["decoder.onnx"]
    monkeypatch.setattr(storage, "WITHIN", WEIGHT.nbytes - 1)
    write_graph(model, tmp_path, STEPS)
    assert {path.name for path in files_of(tmp_path, STEPS)} == {"decoder.data", "decoder.onnx"} < set(FILES)
    np.testing.assert_allclose(ran(tmp_path), X @ WEIGHT + SHIFT, atol=1e-4)


def test_the_weights_are_a_file_of_safetensors_in_which_large_ones_are_aligned(model, tmp_path):
    from safetensors.numpy import load_file

    for name, array in (("odd", np.arange(LEAST + 3, dtype=np.int8)), ("half", np.ones((600, 2), np.float16))):
        model.graph.initializer.insert(0, onnx.numpy_helper.from_array(array, name))
    expected = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer[:3]}
    write_graph(model, tmp_path, CHUNKS)
    found, theirs = (read(tmp_path / "decoder.data") for read in (weights_in, load_file))
    assert set(found) == set(theirs) == set(expected) == {"odd", "half", "weight"}
    for name, array in expected.items():
        for each in (found[name], theirs[name]):
            np.testing.assert_array_equal(each, array)
            assert each.dtype == array.dtype
    start = {tensor.name: int(tensor.external_data[1].value) for tensor in model.graph.initializer[:3]}
    assert start["weight"] % ALIGNED == 0
    assert found["weight"].ctypes.data % ALIGNED == 0
    again = onnx.load(str(tmp_path / "decoder.onnx"))
    for tensor in again.graph.initializer[:3]:
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor), expected[tensor.name])


@pytest.mark.parametrize("spoil", [lambda data: data[:-9], lambda data: b"\xff" * 100, lambda data: data[:5], lambda data: b""])
def test_weights_that_are_damaged_are_refused(model, tmp_path, spoil):
    write_graph(model, tmp_path, CHUNKS)
    path = beside(tmp_path / "decoder.onnx")
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ValueError, match=r"."):
        weights_in(path)


def test_what_was_there_is_replaced(model, tmp_path):
    write_graph(model, tmp_path, CHUNKS)
    write_graph(onnx.load(str(tmp_path / "decoder.onnx")), tmp_path, CHUNKS)
    assert (tmp_path / "decoder.data").stat().st_size < 2 * WEIGHT.nbytes


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_who_may_read_the_graph_may_read_its_weights(model, tmp_path):
    write_graph(model, tmp_path, CHUNKS)
    assert len({path.stat().st_mode for path in files_of(tmp_path, CHUNKS)}) == 1
