"""Convolution of rows [time, channels] with one filter per channel on the CPU, without gradients: in C one pass."""

from ctypes import c_size_t

import torch
from torch import Tensor

from .errors import ShapeError
from .native import address, reading
from .snake_rows import Bend, snake_rows


def depthwise(x: Tensor, filters: Tensor, bias: Tensor | None, dilation: int, bend: Bend | None, out: Tensor) -> None:
    """Write the valid convolution, or Snake of it, into `out`.

    Args:
        x: [rows + (taps - 1) * dilation, channels], or more rows, which do not count.
        filters: [taps, channels].
        bias: [channels].
        dilation: rows from one tap to the next.
        bend: Snake's parameters; None for the convolution alone.
        out: [rows, channels], other memory than x.

    Raises:
        ShapeError: if the shapes are others.
    """
    _check(x, filters, bias, dilation, out)
    if bend is not None:
        bend.check(out.shape[1])
    alpha, size = bend or (None, None)
    (taps, channels), rows = filters.shape, len(out)
    if (native := reading(x, filters, bias, alpha, size, out)) is not None:
        native.toneme_depthwise(
            address(x), *map(c_size_t, (rows, channels, taps, dilation)), address(filters), address(bias),
            address(alpha), address(size), address(out),
        )  # fmt: skip
        return
    torch.mul(x[:rows], filters[0], out=out) if bias is None else torch.addcmul(bias, x[:rows], filters[0], out=out)
    for j in range(1, taps):
        out.addcmul_(x[j * dilation : j * dilation + rows], filters[j])
    if bend is not None:
        snake_rows(out, bend, out)


def _check(x: Tensor, filters: Tensor, bias: Tensor | None, dilation: int, out: Tensor) -> None:
    shapes = [x.shape, filters.shape, out.shape]
    fits = all(len(shape) == 2 and shape[1] == out.shape[1] for shape in shapes) and min(len(filters), dilation) > 0
    if not fits or len(x) < len(out) + (len(filters) - 1) * dilation or (bias is not None and bias.shape != out.shape[1:]):
        raise ShapeError(f"the convolution takes rows, filters and memory of as many channels; got {[[*s] for s in shapes]}")
