"""The operators of layers in blocks of time (`blocks`, `scans`) as functions of common ones."""

from collections.abc import Iterator
from typing import Any

from ..codecs.layers import toom_cook
from .function_nodes import INTEGER, Given, made

TAPS, TILE = toom_cook.TAPS, toom_cook.TILE
END = (1 << 63) - 1
SPANS = ("size", "step", "stride", "rate", "shift", "extra", "first", "last")  # attributes
SIGNATURES = {  # inputs, outputs, attributes
    "ToomCook": (["x", "matrices", "bias"], ["y"], {"dilation": INTEGER}),
    "ToomCookPanels": (["x", "panels", "bias"], ["y"], {"dilation": INTEGER, "columns": INTEGER}),
    "Spans": (["rows", "batch", "whole"], ["ends", "begin", "at_end", "length", "stop"], dict.fromkeys(SPANS, INTEGER)),
    "Between": (["x", "begin", "stop"], ["y"], {"first": INTEGER, "width": INTEGER}),
}


def _toom_cook() -> Iterator[Any]:
    """Give the nodes of a convolution of 7 taps [length, outputs] of what a block sees [1, length + 7 dilations, inputs].

    Each value of each tile is made of rows of `dilation` samples. At each point the first taps meet a tile, the others the tile
    after it.
    """
    yield made("Constant", "", "dilation", value_int=Given("dilation"))
    for name, values in (("rest", [-1]), ("seven", [TAPS, -1]), ("four", [TILE, -1]), ("axes", [0, 1]), ("zero", [0])):
        yield made("Constant", "", name, value_ints=values)
    yield made("Unsqueeze", "dilation zero", "step")
    yield made("Neg", "step", "back")
    yield made("Shape", "x", "inside", start=-1)
    yield made("Shape", "matrices", "outside", start=-1)
    for side in ("inside", "outside"):
        yield made("Mul", f"step {side}", f"{side}.step")
        yield made("Concat", f"rest {side}", f"{side}.rows", axis=0)
    yield from _values()
    for n in range(TAPS):
        yield from _product(n)
    yield made("Concat", " ".join(f"product{n}" for n in range(TAPS)), "products", axis=0)
    yield made("Reshape", "products seven", "products.flat")
    yield _table("leave", toom_cook.LEAVE)
    yield made("MatMul", "leave products.flat", "outputs.flat")
    yield made("Concat", "four outside.step", "outputs.shape", axis=0)
    yield made("Reshape", "outputs.flat outputs.shape", "outputs")
    yield made("Transpose", "outputs", "turned", perm=[1, 0, 2])
    yield made("Reshape", "turned outside.rows", "y")


def _values() -> Iterator[Any]:
    yield made("Concat", "rest inside.step", "flat.shape", axis=0)
    yield made("Reshape", "x flat.shape", "flat")
    yield made("Shape", "flat", "count", start=0, end=1)
    for name, value in (("none", 0), ("one", 1), ("tile", TILE), ("over", TAPS - TILE)):
        yield made("Constant", "", name, value_int=value)
    yield made("Sub", "count over", "count.tiles")
    yield made("Div", "count.tiles tile", "tiles")
    yield made("Squeeze", "tiles", "tiles.one")
    yield made("Range", "none tiles.one one", "numbers")
    yield made("Mul", "numbers tile", "starts")
    yield made("Constant", "", "offsets", value_ints=list(range(TAPS)))
    yield made("Constant", "", "last", value_ints=[1])
    yield made("Unsqueeze", "offsets last", "column")
    yield made("Add", "column starts", "places")
    yield made("Gather", "flat places", "parts", axis=0)
    yield made("Reshape", "parts seven", "parts.flat")
    yield _table("enter", toom_cook.ENTER)
    yield made("MatMul", "enter parts.flat", "values.flat")
    yield made("Concat", "seven inside", "values.shape", axis=0)
    yield made("Reshape", "values.flat values.shape", "values")


def _product(n: int) -> Iterator[Any]:
    bias = " bias" if toom_cook.POINTS[n : n + 1] == (1.0,) else ""  # which is in each output once
    twice = TAPS + n < 2 * TAPS - 1  # the last taps are three, whose value at infinity is zero
    for name, values in ((f"at{n}", [n]), (f"after{n}", [n + 1]), (f"start{n}", [n, 0]), (f"end{n}", [n + 1, END])):
        yield made("Constant", "", name, value_ints=values)
    yield made("Concat", f"after{n} back", f"near{n}.end", axis=0)
    yield made("Slice", f"values start{n} near{n}.end axes", f"near{n}")
    yield made("Reshape", f"near{n} inside.rows", f"near{n}.rows")
    yield from _matrix(f"near{n}.matrix", n)
    yield made("Gemm", f"near{n}.rows near{n}.matrix{bias}", f"product{n}.near" if twice else f"product{n}")
    if not twice:
        return
    yield made("Concat", f"at{n} step", f"far{n}.start", axis=0)
    yield made("Slice", f"values far{n}.start end{n} axes", f"far{n}")
    yield made("Reshape", f"far{n} inside.rows", f"far{n}.rows")
    yield from _matrix(f"far{n}.matrix", TAPS + n)
    yield made("Gemm", f"far{n}.rows far{n}.matrix product{n}.near", f"product{n}")


def _matrix(name: str, n: int) -> Iterator[Any]:
    """Give a matrix of its own, which ONNX Runtime packs beforehand, as it does not do with a stack of them."""
    yield made("Constant", "", f"{name}.number", value_int=n)
    yield made("Gather", f"matrices {name}.number", name, axis=0)


def _table(name: str, values: list[list[float]]) -> Any:
    from onnx import TensorProto, helper

    flat = [value for row in values for value in row]
    tensor = helper.make_tensor(name, TensorProto.FLOAT, [len(values), len(values[0])], flat)
    return helper.make_node("Constant", [], [name], value=tensor)


def _toom_cook_panels() -> Iterator[Any]:
    """Give the nodes that a session computes once, when it folds its constants, and those of the convolution."""
    yield made("Transpose", "panels", "filled", perm=[0, 2, 1, 3])
    yield made("Constant", "", "joined.shape", value_ints=[0, 0, -1])
    yield made("Reshape", "filled joined.shape", "joined")
    yield made("Constant", "", "columns", value_int=Given("columns"))
    yield made("Constant", "", "nothing", value_ints=[0])
    yield made("Constant", "", "third", value_ints=[2])
    yield made("Unsqueeze", "columns nothing", "columns.end")
    yield made("Slice", "joined nothing columns.end third", "matrices")
    yield from _toom_cook()


def _spans() -> Iterator[Any]:
    """Give the nodes of what `scans.over_blocks` says of blocks."""
    for name in SPANS:
        yield made("Constant", "", name, value_int=Given(name))
    yield made("Constant", "", "one", value_int=1)
    yield made("Constant", "", "none", value_int=0)
    yield from _quotient("rows", "size", "blocks")
    yield from _quotient("rows", "blocks", "even")
    yield from _quotient("even", "step", "steps")
    yield made("Mul", "steps step", "length")
    yield from _quotient("rows", "length", "count")
    yield made("Mul", "batch count", "all")
    yield made("Squeeze", "all", "all.one")
    yield made("Range", "none all.one one", "numbers")
    yield made("Div", "numbers count", "item")
    yield made("Mul", "item count", "before")
    yield made("Sub", "numbers before", "number")
    yield made("Mul", "number length", "start")
    yield made("Mul", "start rate", "begin")
    yield made("Mul", "rows rate", "samples")
    yield made("Sub", "samples last", "stop")
    yield made("Mul", "length rate", "block")
    yield made("Add", "begin block", "end")
    yield made("Less", "begin first", "early")
    yield made("Greater", "end stop", "late")
    yield made("Or", "early late", "at_end")
    yield from _ends()


def _quotient(whole: str, part: str, name: str) -> Iterator[Any]:
    """Give the nodes of a quotient rounded up."""
    yield made("Add", f"{whole} {part}", f"{name}.sum")
    yield made("Sub", f"{name}.sum one", f"{name}.less")
    yield made("Div", f"{name}.less {part}", name)


def _ends() -> Iterator[Any]:
    """Give the nodes of what `Pad` adds for each block, less than nothing where it takes away: [blocks, 4].

    Items before the block's, samples before its first, items after, and samples after its last.
    """
    yield made("Mul", "length stride", "seen.rows")
    yield made("Sub", "seen.rows shift", "seen.shifted")
    yield made("Add", "seen.shifted extra", "seen")
    yield made("Sub", "one batch", "items")
    yield made("Sub", "seen whole", "over")
    yield made("Constant", "", "place", value_ints=[0])
    yield made("Constant", "", "behind", value_ints=[1])
    yield made("Unsqueeze", "shift place", "shift.one")
    yield made("Concat", "place shift.one items over", "own", axis=0)
    yield made("Unsqueeze", "item behind", "item.column")
    yield made("Constant", "", "item.signs", value_ints=[-1, 0, 1, 0])
    yield made("Mul", "item.column item.signs", "item.ends")
    yield made("Mul", "start stride", "start.samples")
    yield made("Unsqueeze", "start.samples behind", "start.column")
    yield made("Constant", "", "start.signs", value_ints=[0, -1, 0, 1])
    yield made("Mul", "start.column start.signs", "start.ends")
    yield made("Add", "item.ends start.ends", "moved")
    yield made("Add", "moved own", "ends")


def _between() -> Iterator[Any]:
    """Give the nodes that put zeros in place of samples before the first one that is wanted, and from the end on."""
    yield made("Constant", "", "first", value_int=Given("first"))
    yield made("Constant", "", "width", value_int=Given("width"))
    yield made("Constant", "", "one", value_int=1)
    yield made("Constant", "", "rest", value_ints=[-1])
    yield made("Constant", "", "place", value_ints=[0])
    yield made("Constant", "", "behind", value_ints=[1])
    yield made("Unsqueeze", "width place", "width.one")
    yield made("Concat", "rest width.one", "shape", axis=0)
    yield made("Reshape", "x shape", "samples")
    yield made("Shape", "samples", "count", start=0, end=1)
    yield made("Squeeze", "count", "count.one")
    yield made("Add", "begin count.one", "end")
    yield made("Range", "begin end one", "places")
    yield made("GreaterOrEqual", "places first", "early")
    yield made("Less", "places stop", "late")
    yield made("And", "early late", "wanted")
    yield made("Cast", "wanted", "mask", to=1)
    yield made("Unsqueeze", "mask behind", "column")
    yield made("Mul", "samples column", "kept")
    yield made("Shape", "x", "size")
    yield made("Reshape", "kept size", "y", allowzero=1)


BODIES = {"ToomCook": _toom_cook, "ToomCookPanels": _toom_cook_panels, "Spans": _spans, "Between": _between}
