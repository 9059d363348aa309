"""A convolution of two strides over pieces of samples as a function of common operators."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from .function_nodes import INTEGER, Given, choice, made, matrix_of

_ATTRIBUTES = {"stride": INTEGER, "cut": INTEGER}
SIGNATURES = {  # inputs, outputs, attributes
    "TwoTaps": (["x", "before", "tail", "matrix", "bias"], ["y"], _ATTRIBUTES),
    "TwoTapsPanels": (["x", "before", "tail", "panels", "bias"], ["y"], _ATTRIBUTES),
    "PairedTaps": (["x", "before", "tail", "matrix", "bias", "both"], ["y"], _ATTRIBUTES),
    "PairedTapsPanels": (["x", "before", "tail", "panels", "bias", "both_panels"], ["y"], _ATTRIBUTES),
}


def _two_taps(paired: bool = False) -> Iterator[Any]:
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
    yield made("Shape", "bias", "columns")
    yield made("Sub", "units time", "count")
    yield made("Concat", "batch count columns", "size", axis=0)
    if paired:
        yield made("Constant", "", "two", value_ints=[2])
        yield made("Mod", "count two", "odd")
        yield made("Cast", "odd", "alone", to=9)
        yield choice("alone", "sums", _singly(), _pairs())
    else:
        yield from _singly()
    yield made("Reshape", "sums size" if paired else "singly size", "y", allowzero=1)


def _half(name: str, start: str, stop: str) -> Iterator[Any]:
    yield made("Slice", f"matrix {start} {stop} none", name)


def _singly() -> Iterator[Any]:
    """Give a product of the early strides added to one of the late ones."""
    yield made("Slice", "rows none rest time", "early")
    yield made("Slice", "rows time far time", "late")
    yield made("Flatten", "early", "early.rows", axis=-1)
    yield made("Flatten", "late", "late.rows", axis=-1)
    yield from _half("first", "none", "width")
    yield from _half("second", "width", "far")
    yield made("Gemm", "early.rows first bias", "early.sums")
    yield made("Gemm", "late.rows second early.sums", "singly")


def _pairs() -> Iterator[Any]:
    """Give what `kernels/c/onnx_two_taps.c` says of pairs of rows."""
    yield made("Constant", "", "steps", value_ints=[2])
    for name, start, stop in (("a", "none", "rest"), ("b", "time", "far"), ("c", "steps", "far")):
        yield made("Slice", f"rows {start} {stop} time steps", f"{name}.strides")
        yield made("Flatten", f"{name}.strides", f"{name}.rows", axis=-1)
    yield from _half("upper", "none", "width")
    yield from _half("lower", "width", "far")
    yield made("Gemm", "b.rows both bias", "shared")
    for name, matrix in (("a", "upper"), ("c", "lower")):
        yield made("Sub", f"{name}.rows b.rows", f"{name}.less")
        yield made("Gemm", f"{name}.less {matrix} shared", f"{name}.sums")
    yield made("Concat", "a.sums c.sums", "paired", axis=1)


def _panels(paired: bool) -> Iterator[Any]:
    yield made("Shape", "bias", "end")
    yield from matrix_of("panels", "matrix", "end")
    if paired:
        yield from matrix_of("both_panels", "both", "end")
    yield from _two_taps(paired)


BODIES = {
    "TwoTaps": _two_taps,
    "TwoTapsPanels": partial(_panels, False),
    "PairedTaps": partial(_two_taps, True),
    "PairedTapsPanels": partial(_panels, True),
}
