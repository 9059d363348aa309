"""A convolution of two strides over pieces of samples as a function of common operators."""

from collections.abc import Iterator
from typing import Any

from .function_nodes import INTEGER, Given, made

_ATTRIBUTES = {"stride": INTEGER, "cut": INTEGER, "halved": INTEGER}
SIGNATURES = {  # inputs, outputs, attributes; `both` and `halved` are the kernel's (`kernels/c/onnx_two_taps.c`)
    "TwoTaps": (["x", "before", "tail", "matrix", "both", "bias"], ["y"], _ATTRIBUTES),
    "TwoTapsPanels": (["x", "before", "tail", "panels", "both", "bias"], ["y"], _ATTRIBUTES),
}


def _two_taps() -> Iterator[Any]:
    for name in ("stride", "cut"):
        yield made("Constant", "", name, value_int=Given(name))
    for name, value in (("none", 0), ("time", 1), ("rest", -1), ("far", (1 << 63) - 1)):
        yield made("Constant", "", name, value_ints=[value])
    yield made("Shape", "x", "batch", start=0, end=1)
    yield made("Shape", "x", "frames", start=1, end=2)
    yield made("Shape", "x", "channels", start=2, end=3)
    yield made("Sub", "frames cut", "kept")
    yield made("Slice", "x none kept time", "own")
    yield made("Concat", "before own tail", "joined", axis=1)
    yield made("Shape", "joined", "all", start=1, end=2)
    yield made("Div", "all stride", "units")
    yield made("Mul", "units stride", "whole")
    yield made("Slice", "joined none whole time", "samples")
    yield made("Mul", "channels stride", "width")
    yield made("Concat", "batch units width", "shape", axis=0)
    yield made("Reshape", "samples shape", "rows", allowzero=1)
    yield made("Slice", "rows none rest time", "early")
    yield made("Slice", "rows time far time", "late")
    yield made("Concat", "early late", "windows", axis=2)
    yield made("Flatten", "windows", "flat", axis=-1)
    yield made("Gemm", "flat matrix bias", "sums")
    yield made("Shape", "windows", "lead", start=0, end=2)
    yield made("Shape", "bias", "columns")
    yield made("Concat", "lead columns", "size", axis=0)
    yield made("Reshape", "sums size", "y", allowzero=1)


def _panels() -> Iterator[Any]:
    """Give the nodes that a session computes once, when it folds its constants, and those of the convolution."""
    yield made("Transpose", "panels", "filled", perm=[1, 0, 2])
    yield made("Flatten", "filled", "flat.matrix", axis=1)
    yield made("Constant", "", "begin", value_ints=[0])
    yield made("Constant", "", "across", value_ints=[1])
    yield made("Shape", "bias", "end")
    yield made("Slice", "flat.matrix begin end across", "matrix")
    yield from _two_taps()


BODIES = {"TwoTaps": _two_taps, "TwoTapsPanels": _panels}
