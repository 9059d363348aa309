"""Padding in time as SEANet codecs do it, and joining pieces of time in whichever memory order they have.

A convolution with kernel K (dilation counted in) and stride s gets K - s samples of padding: all of it in front where it is
causal, half and half otherwise with the odd one in front. The input is then filled up at its end to a multiple of s.
Source: Défossez et al., "High Fidelity Neural Audio Compression", 2022, and its published code.
"""

from collections.abc import Sequence

from torch import Tensor, cat
from torch.nn import functional as F

from . import rows
from .activation import Activation

PAD_MODES = ("reflect", "constant", "replicate")


def is_time_major(x: Tensor) -> bool:
    """Say whether x [batch, channels, time] holds the channels of one instant side by side in memory."""
    return x.stride(1) == 1 and x.shape[1] > 1


def join_time(pieces: Sequence[Tensor]) -> Tensor:
    """Join pieces [batch, channels, time] in time, keeping the memory order of the last one."""
    pieces = [piece for piece in pieces if piece.shape[-1]] or list(pieces[-1:])
    if len(pieces) == 1:
        return pieces[0]
    if is_time_major(pieces[-1]):
        return cat([piece.transpose(1, 2) for piece in pieces], dim=1).transpose(1, 2)
    return cat(list(pieces), dim=-1)


def pad_time(x: Tensor, left: int, right: int, mode: str) -> Tensor:
    """Pad x [batch, channels, time] at both ends.

    Reflection of an input no longer than the padding first lengthens it with zeros, and cuts as many samples off the end
    of the result.
    """
    if not left and not right:
        return x
    short = max(0, max(left, right) - x.shape[-1] + 1) if mode == "reflect" else 0
    x = F.pad(x, (0, short)) if short else x
    padded = join_time([_before(x, left, mode), x, _behind(x, right, mode)])
    return padded[..., : padded.shape[-1] - short]


def surround(x: Tensor, front: int | Tensor, right: int, mode: str, before: Activation | None = None) -> Tensor:
    """Return x, or its activation `before`, between its padding, where `front` may be what came before it instead.

    The CPU's path writes the activation to where it belongs, and so needs no copy.

    Args:
        front: samples of padding, or [batch, channels, samples].
        right: samples of padding.
    """
    left, time = front if isinstance(front, int) else front.shape[-1], x.shape[-1]
    if before is None or not rows.usable(x) or max(left, right) >= time:
        x = x if before is None else before(x)
        return pad_time(x, front, right, mode) if isinstance(front, int) else pad_time(join_time([front, x]), 0, right, mode)
    whole = x.new_empty(x.shape[0], left + time + right, x.shape[1]).transpose(1, 2)
    middle = whole[..., left : left + time]
    before.write(x, middle)
    whole[..., :left] = _before(middle, left, mode) if isinstance(front, int) else front
    whole[..., left + time :] = _behind(middle, right, mode)
    return whole


def _before(x: Tensor, count: int, mode: str) -> Tensor:
    return x[..., 1 : count + 1].flip(-1) if mode == "reflect" else _beyond(x, 0, count, mode)


def _behind(x: Tensor, count: int, mode: str) -> Tensor:
    last = x.shape[-1] - 1
    return x[..., last - count : last].flip(-1) if mode == "reflect" else _beyond(x, -1, count, mode)


def _beyond(x: Tensor, edge: int, count: int, mode: str) -> Tensor:
    if mode == "replicate":
        return x[..., edge, None].expand(-1, -1, count)
    return x.new_zeros(x.shape[0], x.shape[1], count)
