"""Weights in 16 bits where nothing is lost or loss was asked for."""

import numpy as np
import pytest

from toneme.export.precision import store_half

onnx = pytest.importorskip("onnx")


def graph(weights: np.ndarray):
    """Return a graph that multiplies by weights [n, n]."""
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["rows", len(weights)]) for name in "xy"]
    inside = onnx.helper.make_graph([node], "g", ends[:1], ends[1:], [onnx.numpy_helper.from_array(weights, "w")])
    return onnx.helper.make_model(inside, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)


def run(model, x: np.ndarray) -> np.ndarray:
    onnxruntime = pytest.importorskip("onnxruntime")
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]


@pytest.fixture
def weights() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((40, 40)).astype(np.float32)


def test_exact_weights_are_stored_in_half_the_bytes(weights):
    exact = weights.astype(np.float16).astype(np.float32)
    model, x = graph(exact), weights[:3]
    before, expected = len(model.SerializeToString()), run(model, x)
    assert store_half(model) == 1600
    assert len(model.SerializeToString()) < 0.6 * before
    np.testing.assert_array_equal(run(model, x), expected)


def test_others_are_rounded_only_where_asked(weights):
    model = graph(weights)
    assert store_half(model) == 0
    assert store_half(model, rounding=True) == 1600
    np.testing.assert_allclose(run(model, weights[:3]), weights[:3] @ weights, atol=2e-2)
    huge = graph(weights * 1e6)
    assert store_half(huge, rounding=True) == 0
