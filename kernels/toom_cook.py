"""`codecs.layers.toom_cook` on the CPU, without gradients: what enters and what leaves its products in C, one pass each."""

from ctypes import c_size_t

import torch
from torch import Tensor

from .errors import ShapeError
from .native import address, reading
from .snake_rows import Bend

TILE = 4
POINTS = 7


def convolve(
    x: Tensor, near: Tensor, far: Tensor, dilation: int, out: Tensor, bias: Tensor | None = None, bend: Bend | None = None
) -> None:
    """Write the first of the rows that whole tiles determine, or Snake of them, into `out`, where `native.runs` says so.

    Args:
        x: [tiles + 2, 4, dilation * in].
        near: values of the first four taps [7, in, out].
        far: those of the other three [6, in, out].
        dilation: rows from one tap to the next.
        out: [rows, out], at most tiles * 4 * dilation of them.
        bias: [out].
        bend: Snake's parameters; None for the convolution alone.

    Raises:
        ShapeError: if the shapes are others.
    """
    _check(x, near, far, dilation, bias)
    if bend is not None:
        bend.check(near.shape[2])
    if out.dim() != 2 or len(out) > (len(x) - 2) * TILE * dilation or out.shape[1] != near.shape[2]:
        raise ShapeError(f"{len(x) - 2} tiles do not determine {[*out.shape]}")
    values = enter(x).view(POINTS, -1, near.shape[1])  # a row of each dilation after the other
    products = torch.bmm(values[:, :-dilation], near)
    products[: POINTS - 1].baddbmm_(values[: POINTS - 1, dilation:], far)
    leave(products, dilation, out, bias, bend)


def enter(x: Tensor) -> Tensor:
    """Return the values [7, tiles - 1, width] at the points of tiles [tiles, 4, width], each with three rows of the next."""
    native, tiles, width = reading(x), len(x) - 1, x.shape[2]
    assert native is not None
    values = x.new_empty(POINTS, tiles, width)
    native.toneme_toom_cook_enter(address(x), c_size_t(tiles), c_size_t(width), address(values))
    return values


def leave(products: Tensor, dilation: int, out: Tensor, bias: Tensor | None = None, bend: Bend | None = None) -> None:
    """Write the first rows of what products [7, tiles * dilation, out] make into `out`; the rest as in `convolve`."""
    alpha, size = bend or (None, None)
    native, (_, rows, channels) = reading(products, bias, alpha, size, out), products.shape
    assert native is not None
    native.toneme_toom_cook_leave(
        address(products), *map(c_size_t, (rows // dilation, dilation, channels)), address(bias), address(alpha),
        address(size), c_size_t(len(out)), address(out),
    )  # fmt: skip


def _check(x: Tensor, near: Tensor, far: Tensor, dilation: int, bias: Tensor | None) -> None:
    points, width, out = near.shape
    fits = x.shape[1:] == (TILE, dilation * width) and len(x) > 1 and points == POINTS
    if not fits or far.shape != (POINTS - 1, width, out) or (bias is not None and bias.shape != (out,)):
        shapes = [[*part.shape] for part in (x, near, far)]
        raise ShapeError(f"tiles are [tiles + 2, {TILE}, {dilation} * in], values [7, in, out] and [6, in, out]; got {shapes}")
