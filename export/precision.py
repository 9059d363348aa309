"""Smaller files: weights of a graph stored in 16 bits.

Stored in 16 bits, weights are widened once, when a session folds its constants; nothing is computed in 16 bits, so speed and
sums stay what they were. Weights that 16 bits hold exactly are always stored so: nothing changes but the size of the file.
"""

from typing import Any

import numpy as np

HALF = ".half"  # behind the names of weights in 16 bits
LEAST = 1024  # values from which a tensor is worth a node


def store_half(model: Any, rounding: bool = False) -> int:
    """Store weights in 16 bits; return how many values.

    Args:
        model: of ONNX, changed in place.
        rounding: also those that 16 bits do not hold exactly; others stay where they were.
    """
    from onnx import TensorProto, helper, numpy_helper

    nodes, stored = [], 0
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < LEAST or (half := _half(values, rounding)) is None:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, name + HALF))
        nodes.append(helper.make_node("Cast", [name + HALF], [name], f"widen.{name}", to=TensorProto.FLOAT))
        stored += values.size
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])
    return stored


def _half(values: np.ndarray, rounding: bool) -> np.ndarray | None:
    """Return values in 16 bits, or None where they do not fit."""
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    exact = np.array_equal(half.astype(np.float32), values)
    return half if exact or (rounding and np.isfinite(half).all()) else None
