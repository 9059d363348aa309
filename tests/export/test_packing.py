"""Products of a graph are operators of ours where their weights are worth it, and give what they gave."""

import numpy as np
import pytest

from toneme.export.packing import use_kernels
from toneme.export.precision import store_half
from toneme.kernels.library import library

from .test_functions import onnx, session


def product_model(matrix: np.ndarray, **settings):
    helper = onnx.helper
    node = helper.make_node("Gemm", ["x", "matrix", "bias"], ["y"], **settings)
    outputs = matrix.shape[0] if settings.get("transB") else matrix.shape[1]
    tensors = [
        onnx.numpy_helper.from_array(value, name) for name, value in (("matrix", matrix), ("bias", np.ones(outputs, "f4")))
    ]
    ends = [[helper.make_tensor_value_info(name, 1, [None, None])] for name in "xy"]
    graph = helper.make_graph([node], "g", *ends, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def kinds(model) -> list[str]:
    store_half(model)
    use_kernels(model)
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("settings", [{}, {"transB": 1}, {"alpha": 1.0, "beta": 1.0}])
def test_products_with_weights_in_16_bits_are_ours(settings):
    exact = np.random.default_rng(0).standard_normal((64, 96)).astype(np.float16).astype(np.float32)
    model = product_model(exact, **settings)
    x = np.ones((3, 96 if settings.get("transB") else 64), np.float32)
    expected = session(model, False).run(None, {"x": x})[0]
    assert kinds(model) == ["AffineHalf"]
    assert sorted(tensor.data_type for tensor in model.graph.initializer) == [1, 10]
    np.testing.assert_allclose(session(model, library() is not None).run(None, {"x": x})[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"transB": 1}])
def test_products_with_weights_in_32_bits_are_ours(settings):
    matrix = np.random.default_rng(0).standard_normal((64, 96)).astype(np.float32)
    model = product_model(matrix, **settings)
    x = np.ones((3, 96 if settings.get("transB") else 64), np.float32)
    expected = session(model, False).run(None, {"x": x})[0]
    assert kinds(model) == ["AffinePanels"]
    assert sorted(tuple(tensor.dims) for tensor in model.graph.initializer) == sorted(
        [(64,), (4, 96, 16)] if settings else [(96,), (6, 64, 16)]
    )
    for native in {library() is not None, False}:
        np.testing.assert_allclose(session(model, native).run(None, {"x": x})[0], expected, rtol=1e-5, atol=1e-5)


def test_where_there_are_no_kernels_matrices_in_32_bits_stay_as_they_are():
    model = product_model(np.random.default_rng(0).standard_normal((64, 96)).astype(np.float32))
    use_kernels(model, packed=False)
    assert [node.op_type for node in model.graph.node] == ["Gemm"]
    assert not model.functions


@pytest.mark.parametrize(
    ("matrix", "settings", "expected"),
    [
        (np.full((64, 96), 0.1), {"alpha": 2.0}, ["Gemm"]),
        (np.full((64, 96), 0.5), {"alpha": 2.0}, ["Cast", "Gemm"]),
        (np.full((64, 96), 0.5), {"transA": 1}, ["Cast", "Gemm"]),
        (np.full((32, 32), 0.5), {}, ["Cast", "Gemm"]),  # too small to be worth it
    ],
)
def test_other_products_stay(matrix, settings, expected):
    assert kinds(product_model(matrix.astype(np.float32), **settings)) == expected
