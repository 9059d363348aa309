"""Matrices of a graph as the kernels read them (`functions`): those of products in 32 bits in panels, others in 16 bits."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .functions import DOMAIN, HALF, MATRICES, PANELS, add_functions, nodes_of

PANEL = 16  # columns
LEAST = 1 << 12  # values of a matrix from which a product is worth an operator of ours
FLOATS, HALVES = 1, 10  # types of tensors, as ONNX counts them
PACKED = {  # places of the matrices
    "Affine": (1,), "Product": (1,), "ToomCook": (1,), "EluBlock": (2, 4), "EluSkip": (2, 4), "TwoTaps": (3,),
    "PairedTaps": (3, 5),
}  # fmt: skip
TOLD = ("Affine", "Product", "ToomCook")  # what is told the columns of its matrix; it is worth it for large ones alone


def use_kernels(model: Any, packed: bool = True) -> None:
    """Let operators of ours take matrices in 16 bits as they are, products among them, and add the functions, in place.

    Args:
        model: of ONNX.
        packed: also those in 32 bits, in panels. Where there are no kernels a session turns each of them over first.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    halves = {node.output[0]: node.input[0] for node in model.graph.node if _widens(node, weights)}
    all_floats = {name for name, tensor in weights.items() if packed and tensor.data_type == FLOATS}
    floats = {name for name in all_floats if _is_large(weights[name], FLOATS)}
    for node in nodes_of(model.graph):
        if node.op_type in ("Gemm", "MatMul") and (node.input[1] in halves or node.input[1] in floats):
            _take_product(node)
        matrices = PACKED.get(node.op_type, ()) if node.domain == DOMAIN else ()
        if matrices and all(node.input[place] in (floats if node.op_type in TOLD else all_floats) for place in matrices):
            _take_panels(node, matrices, weights, model.graph)
        places = MATRICES.get(node.op_type, ()) if node.domain == DOMAIN else ()
        if places and all(node.input[place] in halves for place in places):
            for place in places:
                node.input[place] = halves[node.input[place]]
            node.op_type += HALF
    _drop_unused(model.graph)
    add_functions(model)


def _widens(node: Any, weights: Mapping[str, Any]) -> bool:
    """Say whether a node widens a large matrix in 16 bits."""
    if node.op_type != "Cast" or node.input[0] not in weights:
        return False
    return _is_large(weights[node.input[0]], HALVES)


def _is_large(tensor: Any, kind: int) -> bool:
    """Say whether a tensor is a matrix, or several, that is worth an operator of ours."""
    return tensor.data_type == kind and len(tensor.dims) in (2, 3) and math.prod(tensor.dims) >= LEAST


def _take_product(node: Any) -> None:
    """Turn a product into an operator of ours, where nothing else is asked of it."""
    from onnx import helper

    settings = {field.name: helper.get_attribute_value(field) for field in node.attribute}
    turned = settings.pop("transB", 0)
    asked = any(value != (name != "transA") for name, value in settings.items())
    if asked or (node.op_type == "Gemm" and len(node.input) == 2):
        return
    del node.attribute[:]
    if node.op_type == "Gemm":
        node.attribute.append(helper.make_attribute("turned", turned))
    node.op_type, node.domain = ("Affine" if node.op_type == "Gemm" else "Product"), DOMAIN


def _take_panels(node: Any, places: tuple[int, ...], weights: dict[str, Any], graph: Any) -> None:
    """Let an operator take its matrices in panels, which are put beside it."""
    from onnx import helper

    turned = any(field.name == "turned" and field.i for field in node.attribute)
    columns = weights[node.input[places[0]]].dims[0 if turned else -1]
    kept = [field for field in node.attribute if field.name != "turned"]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute("columns", columns)] if node.op_type in TOLD else kept)
    for place in places:
        node.input[place] = _packed(node.input[place], turned, weights, graph)
    node.op_type += PANELS


def _packed(matrix: str, turned: bool, weights: dict[str, Any], graph: Any) -> str:
    """Return the name of a matrix in panels, which is put beside it if it is not there."""
    from onnx import numpy_helper

    name = f"{matrix}.{'turned.' if turned else ''}panels"
    if name not in weights:
        values = numpy_helper.to_array(weights[matrix])
        weights[name] = numpy_helper.from_array(panels(values.T if turned else values), name)
        graph.initializer.append(weights[name])
    return name


def panels(matrix: np.ndarray) -> np.ndarray:
    """Return a matrix [..., inputs, outputs] as [..., panels, inputs, 16]: sixteen columns each, the last filled with zeros."""
    filled = np.pad(matrix, [(0, 0)] * (matrix.ndim - 1) + [(0, -matrix.shape[-1] % PANEL)])
    return np.ascontiguousarray(np.moveaxis(filled.reshape(*matrix.shape[:-1], -1, PANEL), -2, -3))


def _drop_unused(graph: Any) -> None:
    """Take out what widened a matrix for nothing but operators of ours, and weights that nothing asks for."""
    used = _used(graph)
    for node in [node for node in graph.node if node.op_type == "Cast" and node.output[0] not in used]:
        graph.node.remove(node)
    used = _used(graph)
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)


def _used(graph: Any) -> set[str]:
    """Return the names that nodes of a graph and of those in it take, and what it gives."""
    return {name for node in nodes_of(graph) for name in node.input} | {value.name for value in graph.output}
