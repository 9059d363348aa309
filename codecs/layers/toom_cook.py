"""Dilated convolution of 7 taps in 13 products for 4 outputs in place of 28, on time-major rows.

Four outputs of four taps are products of polynomials, which their values at seven points determine (0, 1, -1, 2, -2, 1/2 and
infinity). The first four taps meet a tile of inputs, the other three the tile after it, whose values are formed but once; the
values' products are summed before they are turned back. Rounding grows from 1e-7 to 5e-7 of an output's size.
Source: Winograd, "Arithmetic Complexity of Computations", 1980; Lavin and Gray, "Fast Algorithms for Convolutional Neural
Networks", 2016, section 4.
"""

import torch
from torch import Tensor

from ...kernels import native
from ...kernels import toom_cook as in_c
from ...kernels.snake_rows import Bend, snake_rows
from ...kernels.unlocked import Unlocked

TILE = 4
TAPS = 7
WIDE, WIDE_IN_C = 96, 64  # channels from which half the products are worth the sums that they take
PACKED_AT_ONCE = 32  # outputs, whose values in 64 bits are in memory together
POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5)


def powers(count: int) -> Tensor:
    """Return what turns `count` coefficients into values at the points: [7, count]."""
    table = torch.zeros(len(POINTS) + 1, count, dtype=torch.float64)
    table[:-1] = torch.tensor(POINTS, dtype=torch.float64)[:, None] ** torch.arange(count)
    table[-1, -1] = 1
    return table


def entering() -> tuple[list[list[float]], Tensor]:
    """Return the factors that seven inputs have in each value, the first that counts being 1, and what they were divided by."""
    rows = [[round(c, 12) for c in row] for row in torch.linalg.inv(powers(TAPS)).T.tolist()]
    first = [next(c for c in row if c) for row in rows]
    return [[c / by for c in row] for row, by in zip(rows, first, strict=True)], torch.tensor(first, dtype=torch.float64)


ENTER, SCALES = entering()
LEAVE = powers(TILE).T.tolist()


def pack(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return the values of a weight [out, in, 7]: of its first four taps [7, in, out], of the others [6, in, out].

    The others are but three, whose value at infinity is zero.
    """
    near, far = (weight.new_empty(len(POINTS) + n, *weight.shape[1::-1], dtype=torch.float32) for n in (1, 0))
    for outputs in range(0, len(weight), PACKED_AT_ONCE):
        part = slice(outputs, outputs + PACKED_AT_ONCE)
        taps = torch.nn.functional.pad(weight[part].double(), (0, 2 * TILE - TAPS)).unflatten(2, (2, TILE))
        values = torch.einsum("nk,oihk->hnio", SCALES[:, None] * powers(TILE), taps)
        near[..., part], far[..., part] = values[0], values[1, :-1]
    return near, far


def worth(channels: int) -> bool:
    """Say whether convolutions of so many channels, the fewer of the two, gain."""
    return channels >= (WIDE_IN_C if native.runs() else WIDE)


def rows_for(count: int, dilation: int) -> int:
    """Return how many input rows `convolve` takes for `count` outputs; those beyond count + 6 dilations do not matter."""
    return (-(-count // (TILE * dilation)) + 2) * TILE * dilation


def convolve(packed: tuple[Tensor, ...], bias: Tensor | None, dilation: int, x: Tensor, count: int) -> Tensor:
    """Return `count` rows [count, out] of the valid convolution of x [rows_for(count), in]."""
    out = x.new_empty(count, packed[0].shape[2])
    write(packed, bias, dilation, x, None, out)
    return out


def write(packed: tuple[Tensor, ...], bias: Tensor | None, dilation: int, x: Tensor, after: Bend | None, out: Tensor) -> None:
    """Write as many rows as `out` [count, out] has, or Snake `after` of them; the rest as in `convolve`."""
    tiles, (near, far) = x.view(len(x) // (TILE * dilation), TILE, -1), packed
    if native.runs(tiles, near, far, out, bias, *(after or ())):
        return in_c.convolve(tiles, near, far, dilation, out, bias, after)
    out.copy_(_convolve(packed, bias, dilation, tiles, ENTER, LEAVE)[: len(out)])
    if after is not None:
        snake_rows(out, after, out)


def _tiles_of(
    packed: tuple[Tensor, Tensor],
    bias: Tensor | None,
    dilation: int,
    x: Tensor,
    enter: list[list[float]],
    leave: list[list[float]],
) -> Tensor:
    """Return the rows that whole tiles x [tiles + 2, 4, dilation * in] determine; written for `unlocked`."""
    near, far = packed
    tiles, tile, points = x.size(0) - 2, x.size(1), near.size(0)
    rows = [
        x[k // tile : k // tile + tiles + 1, k % tile] for k in range(points)
    ]  # tiles of seven rows, which overlap by three
    values = x.new_empty([points, tiles + 1, x.size(2)])
    products = x.new_empty([points, tiles * dilation, near.size(2)])
    for n in range(points):
        _combine(rows, enter[n], values[n])
        torch.mm(values[n, :-1].view(tiles * dilation, -1), near[n], out=products[n])
        if n < far.size(0):
            products[n].addmm_(values[n, 1:].view(tiles * dilation, -1), far[n])
    parts = [products[n].view(tiles, -1) for n in range(points)]
    out = x.new_empty([tiles, len(leave), parts[0].size(1)])
    for i in range(len(leave)):
        _combine(parts, leave[i], out[:, i])
    y = out.view(-1, near.size(2))
    return y if bias is None else y.add_(bias)


def _combine(parts: list[Tensor], factors: list[float], out: Tensor) -> None:
    """Write the sum of parts times factors, the first of which is 1, into `out`."""
    first, used = parts[0], 0
    for part, factor in zip(parts, factors):  # noqa: B905 - of one length; TorchScript's zip takes no strict
        if factor != 0.0:
            if used == 0:
                first = part
            elif used == 1:
                torch.add(first, part, alpha=factor, out=out)
            else:
                out.add_(part, alpha=factor)
            used += 1


_convolve = Unlocked(_tiles_of)
