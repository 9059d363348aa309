"""Padding in time as SEANet codecs do it, and joining pieces of time in whichever memory order they have.

A convolution with kernel K (dilation counted in) and stride s gets K - s samples of padding: all of it in front where it is
causal, half and half otherwise with the odd one in front. The input is then filled up at its end to a multiple of s.
Source: Défossez et al., "High Fidelity Neural Audio Compression", 2022, and its published code.
"""

from collections.abc import Sequence

from torch import Tensor, cat
from torch.nn import functional as F

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
    if mode != "reflect":
        return join_time([_beyond(x, 0, left, mode), x, _beyond(x, -1, right, mode)])
    short = max(0, max(left, right) - x.shape[-1] + 1)
    x = F.pad(x, (0, short)) if short else x
    last = x.shape[-1] - 1
    padded = join_time([x[..., 1 : left + 1].flip(-1), x, x[..., last - right : last].flip(-1)])
    return padded[..., : padded.shape[-1] - short]


def _beyond(x: Tensor, edge: int, count: int, mode: str) -> Tensor:
    if mode == "replicate":
        return x[..., edge, None].expand(-1, -1, count)
    return x.new_zeros(x.shape[0], x.shape[1], count)
