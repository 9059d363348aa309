"""Layers that are one operator in a graph (`functions`), as PyTorch traces them and runs them here."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .elu_functions import TAPS
from .functions import SIGNATURES, operator


def bent(x: Tensor) -> Tensor:
    """Return Snake times its scale of what is x divided by its scale."""
    wave = x.sin()
    return x + wave * wave


@torch.library.custom_op("toneme::elu", mutates_args=())
def elu(x: Tensor) -> Tensor:
    """Return x where it is above 0, and e^x - 1 elsewhere."""
    return F.elu(x)


@elu.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("toneme::elu_block", mutates_args=())
def elu_block(
    x: Tensor, before: Tensor, taps: Tensor, taps_bias: Tensor, matrix: Tensor, bias: Tensor, active: bool
) -> tuple[Tensor, Tensor]:
    """Return a residual block of SEANet, and the last two rows of ELU(x).

    Args:
        x: [batch, rows, channels].
        before: [batch, 2, channels], of ELU of what came before.
        taps, taps_bias: [3 * channels, hidden] of the first convolution, the oldest tap first, and [hidden].
        matrix: of the second convolution [hidden, channels], where x is added, or of it and the shortcut [hidden + channels,
            channels].
        bias: [channels].
        active: whether ELU follows.
    """
    joined, rows = torch.cat([before, F.elu(x)], dim=1), x.shape[1]
    hidden = F.elu(torch.cat([joined[:, tap : tap + rows] for tap in range(TAPS)], dim=2) @ taps + taps_bias)
    skips = matrix.shape[0] == hidden.shape[2]
    y = x + hidden @ matrix + bias if skips else torch.cat([hidden, x], dim=2) @ matrix + bias
    return F.elu(y) if active else y, joined[:, rows:].clone()


@elu_block.register_fake
def _(
    x: Tensor, before: Tensor, taps: Tensor, taps_bias: Tensor, matrix: Tensor, bias: Tensor, active: bool
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(before)


@torch.library.custom_op("toneme::strided", mutates_args=())
def strided(
    x: Tensor, before: Tensor, tail: Tensor, matrix: Tensor, bias: Tensor, both: Tensor | None, stride: int, cut: int
) -> Tensor:
    """Return a convolution of two strides [batch, rows, outputs] over samples that lie in three pieces.

    Args:
        x: [batch, time, channels], of which the last `cut` are left out.
        before, tail: what stands before and behind the others.
        matrix, bias: [2 * stride * channels, outputs] and [outputs].
        both: the sum of the matrix' halves, where a kernel is to form pairs of rows with it.
        stride, cut: as said.
    """
    joined = torch.cat([before, x[:, : x.shape[1] - cut], tail], dim=1)
    units = joined.shape[1] // stride
    rows = joined[:, : units * stride].reshape(x.shape[0], units, -1)
    return torch.cat([rows[:, :-1], rows[:, 1:]], dim=2) @ matrix + bias


@strided.register_fake
def _(
    x: Tensor, before: Tensor, tail: Tensor, matrix: Tensor, bias: Tensor, both: Tensor | None, stride: int, cut: int
) -> Tensor:
    rows = (before.shape[1] + x.shape[1] - cut + tail.shape[1]) // stride - 1
    return x.new_empty(x.shape[0], rows, matrix.shape[1])


@torch.library.custom_op("toneme::delayed", mutates_args=())
def delayed(x: Tensor, late: Tensor, first: Tensor) -> Tensor:
    """Return x [batch, rows, channels] plus rows `late` that come one later, behind `first` [batch, 1, channels]."""
    return x + torch.cat([first, late], dim=1)[:, :-1]


@delayed.register_fake
def _(x: Tensor, late: Tensor, first: Tensor) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("toneme::scaled_snake", mutates_args=())
def scaled_snake(x: Tensor, scale: Tensor) -> Tensor:
    """Return s + sin(s)^2 of s, which is x [..., channels] times scale [channels]."""
    return bent(x * scale)


@scaled_snake.register_fake
def _(x: Tensor, scale: Tensor) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("toneme::lstm", mutates_args=())
def lstm(
    x: Tensor, weights: Tensor, recurrent: Tensor, bias: Tensor, hidden: Tensor, cell: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the outputs [batch, frames, H] of an LSTM layer, and its hidden and cell values after the last frame.

    Args:
        x: [batch, frames, channels].
        weights, recurrent, bias: as `torch.nn.LSTM` has them, [4 * H, channels], [4 * H, H], and the sum of both [4 * H].
        hidden, cell: [1, batch, H], before the first frame.
    """
    both = [weights, recurrent, bias, torch.zeros_like(bias)]
    return torch._VF.lstm(x, (hidden, cell), both, True, 1, 0.0, False, False, True)  # type: ignore[attr-defined]


@lstm.register_fake
def _(
    x: Tensor, weights: Tensor, recurrent: Tensor, bias: Tensor, hidden: Tensor, cell: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return x.new_empty(x.shape[0], x.shape[1], recurrent.shape[1]), torch.empty_like(hidden), torch.empty_like(cell)


@torch.library.custom_op("toneme::convnext", mutates_args=())
def convnext(
    x: Tensor, state: Tensor, filters: Tensor, bias: Tensor, gain: Tensor, shift: Tensor, wide: Tensor, wide_bias: Tensor,
    narrow: Tensor, narrow_bias: Tensor, scale: Tensor, epsilon: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return what `codecs.layers.convnext` gives for frames x [batch, frames, 1, channels], and the state after them.

    Args:
        state: [batch, kernel - 1, 1, channels].
        filters: [channels, 1, kernel, 1].
        bias, gain, shift, narrow_bias, scale: [channels]; wide_bias [hidden].
        wide, narrow: [hidden, channels] and [channels, hidden].
    """
    joined = torch.cat([state, x], dim=1)
    mixed = F.conv2d(joined.permute(0, 3, 1, 2), filters, bias, groups=x.shape[3]).permute(0, 2, 3, 1)
    rows = F.gelu(F.linear(F.layer_norm(mixed, gain.shape, gain, shift, epsilon), wide, wide_bias))
    return x + scale * F.linear(rows, narrow, narrow_bias), joined[:, x.shape[1] :].clone()


@convnext.register_fake
def _(
    x: Tensor, state: Tensor, filters: Tensor, bias: Tensor, gain: Tensor, shift: Tensor, wide: Tensor, wide_bias: Tensor,
    narrow: Tensor, narrow_bias: Tensor, scale: Tensor, epsilon: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    return torch.empty_like(x), torch.empty_like(state)


@torch.library.custom_op("toneme::nearest", mutates_args=())
def nearest(rows: Tensor, codebook: Tensor, bias: Tensor, slope: float, offset: float) -> tuple[Tensor, Tensor]:
    """Return the codes int64 [N] of rows [N, dim] that score most, and what they leave of the rows.

    Args:
        codebook: [K, dim].
        bias: [K], minus half of the codes' squared norms.
        slope, offset: twice the error of a score of x is less than |x| slope + offset (`kernels.rescan.error_factors`).
    """
    codes = F.linear(rows, codebook, bias).argmax(1)
    return codes, rows - F.embedding(codes, codebook)


@nearest.register_fake
def _(rows: Tensor, codebook: Tensor, bias: Tensor, slope: float, offset: float) -> tuple[Tensor, Tensor]:
    return rows.new_empty(rows.shape[0], dtype=torch.int64), torch.empty_like(rows)


def translations() -> dict[Any, Any]:
    """Return how the exporter writes the layers defined here."""
    names = "Elu", "EluBlock", "EluSkip", "TwoTaps", "PairedTaps", "Snake", "Delayed", "Lstm", "ConvNeXt", "Nearest"
    bend, two, skip, taps_of, pairs_of, wave, late, recur, block, search = (operator(name, *SIGNATURES[name]) for name in names)

    def recurrent(x: Any, weights: Any, hiddens: Any, *rest: Any) -> Any:
        return recur(x, weights, hiddens, *rest, width=hiddens.shape[1])

    def bent_block(x: Any, before: Any, taps: Any, taps_bias: Any, matrix: Any, bias: Any, active: bool) -> Any:
        kind = skip if matrix.shape[0] == taps_bias.shape[0] else two
        return kind(x, before, taps, taps_bias, matrix, bias, active=int(active))

    def over_pieces(x: Any, before: Any, tail: Any, matrix: Any, bias: Any, both: Any, stride: int, cut: int) -> Any:
        if both is None:
            return taps_of(x, before, tail, matrix, bias, stride=stride, cut=cut)
        return pairs_of(x, before, tail, matrix, bias, both, stride=stride, cut=cut)

    def blocked(x: Any, state: Any, filters: Any, *rest: Any) -> Any:
        return block(x, state, filters, *rest[:-1], channels=filters.shape[0], epsilon=rest[-1])

    def searched(rows: Any, codebook: Any, bias: Any, slope: float, offset: float) -> Any:
        return search(rows, codebook, bias, slope=slope, offset=offset)

    ops = torch.ops.toneme
    return {
        ops.elu.default: lambda x: bend(x),
        ops.elu_block.default: bent_block,
        ops.strided.default: over_pieces,
        ops.scaled_snake.default: lambda x, scale: wave(x, scale),
        ops.delayed.default: lambda x, y, first: late(x, y, first),
        ops.lstm.default: recurrent,
        ops.convnext.default: blocked,
        ops.nearest.default: searched,
    }
