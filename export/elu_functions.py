"""Residual blocks of SEANet, and its activation, as functions of common operators."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from .function_nodes import INTEGER, Given, choice, made, matrix_of

TAPS = 3
INPUTS = ["x", "before", "taps", "taps_bias", "matrix", "bias"]
PACKED = ["taps", "matrix"]  # of them, those that lie in panels
_PANELS = [f"{name}_panels" if name in PACKED else name for name in INPUTS]
SIGNATURES = {  # inputs, outputs, attributes
    "Elu": (["x"], ["y"], {}),
    "EluBlock": (INPUTS, ["y", "after"], {"active": INTEGER}),
    "EluSkip": (INPUTS, ["y", "after"], {"active": INTEGER}),
    "EluBlockPanels": (_PANELS, ["y", "after"], {"active": INTEGER}),
    "EluSkipPanels": (_PANELS, ["y", "after"], {"active": INTEGER}),
}


def elu(x: str = "x", y: str = "y") -> Iterator[Any]:
    """Give the nodes of ELU: ONNX Runtime's own takes twice the time of these four; e^x - 1 never is less than x."""
    for name, value in (("zero", 0.0), ("one", 1.0)):
        yield made("Constant", "", f"{y}.{name}", value_float=value)
    yield made("Min", f"{x} {y}.zero", f"{y}.low")
    yield made("Exp", f"{y}.low", f"{y}.power")
    yield made("Sub", f"{y}.power {y}.one", f"{y}.less")
    yield made("Max", f"{x} {y}.less", y)


def _block(skips: bool) -> Iterator[Any]:
    yield from elu("x", "bent")
    yield made("Concat", "before bent", "joined", axis=1)
    yield made("Shape", "x", "frames", start=1, end=2)
    yield made("Constant", "", "time", value_ints=[1])
    yield made("Constant", "", "end", value_ints=[(1 << 63) - 1])
    yield made("Slice", "joined frames end time", "after")
    yield made("Constant", "", "none", value_ints=[0])
    yield made("Shape", "x", "channels", start=2)
    for tap in range(TAPS):
        yield made("Constant", "", f"start{tap}", value_ints=[tap])
        yield made("Constant", "", f"next{tap}", value_ints=[tap + 1])
        yield made("Add", f"frames start{tap}", f"stop{tap}")
        yield made("Slice", f"joined start{tap} stop{tap} time", f"seen{tap}")
        yield made("Flatten", f"seen{tap}", f"rows{tap}", axis=-1)
        yield made("Mul", f"channels start{tap}", f"top{tap}")
        yield made("Mul", f"channels next{tap}", f"bottom{tap}")
        yield made("Slice", f"taps top{tap} bottom{tap} none", f"tap{tap}")
    yield made("Gemm", "rows0 tap0 taps_bias", "hidden0")
    yield made("Gemm", "rows1 tap1 hidden0", "hidden1")
    yield made("Gemm", "rows2 tap2 hidden1", "hidden")
    yield from elu("hidden", "active_hidden")
    yield made("Flatten", "x", "own", axis=-1)
    if skips:
        yield made("Gemm", "active_hidden matrix bias", "product")
        yield made("Add", "product own", "sum")
    else:
        yield made("Shape", "taps_bias", "middle")
        yield made("Slice", "matrix none middle none", "inner")
        yield made("Slice", "matrix middle end none", "outer")
        yield made("Gemm", "active_hidden inner bias", "product")
        yield made("Gemm", "own outer product", "sum")
    yield made("Shape", "x", "size")
    yield made("Reshape", "sum size", "shaped", allowzero=1)
    yield made("Constant", "", "active", value_int=Given("active"))
    yield made("Cast", "active", "chosen", to=9)
    yield choice("chosen", "y", elu("shaped", "bent_sum"), [made("Identity", "shaped", "sum_itself")])


def _panels(skips: bool) -> Iterator[Any]:
    for matrix, bias in (("taps", "taps_bias"), ("matrix", "bias")):
        yield made("Shape", bias, f"{matrix}.columns")
        yield from matrix_of(f"{matrix}_panels", matrix, f"{matrix}.columns")
    yield from _block(skips)


BODIES = {
    "Elu": elu,
    "EluBlock": partial(_block, False),
    "EluSkip": partial(_block, True),
    "EluBlockPanels": partial(_panels, False),
    "EluSkipPanels": partial(_panels, True),
}
