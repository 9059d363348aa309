"""Convolutions of `codecs.layers.conv` in a graph: shapes never depend on values, whatever comes first or last.

A layer whose padding mirrors the signal cannot begin with an empty state and a longer piece, as in PyTorch: a graph's states
have one shape. Here the mirror image of the first samples is always formed, and taken in place of the state while nothing came
before. At the end audio is filled up to whole units, and `length` says how many samples count: what a layer would mirror behind
the last of them is put in place of the filling, which is less than a unit, so that only the last stretch is gathered anew.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..codecs.layers.conv import Conv1d, ConvTranspose1d


@dataclass
class Pass:
    """One pass through layers in order: takes the states by name, and collects those after it.

    Attributes:
        before: states.
        started: bool [batch, 1, 1], whether anything came before this piece.
        length: int64 [1], samples that count at the present layer; None where all do.
        unit: samples of a unit at the present layer.
    """

    before: dict[str, Tensor]
    started: Tensor
    length: Tensor | None = None
    unit: int = 1

    def __post_init__(self) -> None:
        self.after: dict[str, Tensor] = {}


class PlainConv(nn.Module):
    """A convolution; a causal one has a state, under its name."""

    def __init__(self, conv: Conv1d, name: str) -> None:
        super().__init__()
        self.name, self.causal, self.stride, self.sides = name, conv.causal, conv.stride[0], conv.sides
        self.context = conv.context if conv.causal else 0
        self.mirrors, self.repeats = conv.pad_mode == "reflect", conv.pad_mode == "replicate"
        self.options = (conv.stride[0], 0, conv.dilation[0], conv.groups)
        self.weight = nn.Parameter(conv.weight.detach().clone())
        self.bias = None if conv.bias is None else nn.Parameter(conv.bias.detach().clone())

    def states(self, batch: int) -> dict[str, Tensor]:
        """Return its state before the first sample, if it has one."""
        return {self.name: torch.zeros(batch, self.weight.shape[1] * self.options[3], self.context)} if self.context else {}

    def forward(self, x: Tensor, walk: Pass) -> Tensor:
        """Return the output of the next piece, a multiple of the stride."""
        front, behind = self.sides
        x = torch.cat([self._before(x, walk), x], dim=2) if front else x
        if self.context:
            walk.after[self.name] = x[..., -self.context :]
        if self.mirrors and walk.length is not None and (self.stride > 1 or behind):
            x = self._mirror_end(x, walk)
        if walk.length is not None:
            walk.length = torch.div(walk.length + self.stride - 1, self.stride, rounding_mode="floor")
            walk.unit //= self.stride
        return F.conv1d(x, self.weight, self.bias, *self.options)

    def _before(self, x: Tensor, walk: Pass) -> Tensor:
        """Return what stands before the piece: the state, or the padding that the beginning gets."""
        if self.repeats:
            return torch.where(walk.started, walk.before[self.name], x[..., :1])
        if not self.mirrors:
            return walk.before[self.name]
        place = torch.arange(self.sides[0], 0, -1)
        mirrored = x.index_select(2, place.clamp(max=x.shape[2] - 1))
        known = place < (x.shape[2] if walk.length is None else walk.length)
        mirrored = mirrored * known.to(x.dtype)
        return torch.where(walk.started, walk.before[self.name], mirrored) if self.context else mirrored

    def _mirror_end(self, joined: Tensor, walk: Pass) -> Tensor:
        """Return the piece with its last unit as it is where the audio ends in it, and what stands behind.

        A beginning too short to be mirrored is lengthened with zeros first, as in `codecs.layers.padding.pad_time`.
        """
        assert walk.length is not None
        front, behind = self.sides
        samples = joined.shape[2] - front
        fill = torch.remainder(-walk.length, self.stride) + behind
        short = (fill.clamp(min=front) - walk.length + 1).clamp(min=0) * (~walk.started[0, 0]).to(torch.int64)
        end = walk.length + short
        place = torch.arange(walk.unit + behind) + (samples - walk.unit)
        source = torch.where(place < end, place, 2 * end - 2 - place)
        known = (source < walk.length).to(joined.dtype)
        tail = joined.index_select(2, (source + front).clamp(min=0, max=joined.shape[2] - 1)) * known
        return torch.cat([joined[..., : front + samples - walk.unit], tail], dim=2)


class PlainUpsampling(nn.Module):
    """A causal transposed convolution under the name of its state."""

    def __init__(self, conv: ConvTranspose1d, name: str) -> None:
        super().__init__()
        self.name, self.context, self.stride, self.groups = name, conv.context, conv.stride[0], conv.groups
        self.weight = nn.Parameter(conv.weight.detach().clone())
        self.bias = None if conv.bias is None else nn.Parameter(conv.bias.detach().clone())

    def states(self, batch: int) -> dict[str, Tensor]:
        """Return its state before the first input."""
        return {self.name: torch.zeros(batch, self.weight.shape[0], self.context)} if self.context else {}

    def forward(self, x: Tensor, walk: Pass) -> Tensor:
        """Return the output of the next piece."""
        frames = x.shape[2]
        if self.context:
            x = torch.cat([walk.before[self.name], x], dim=2)
            walk.after[self.name] = x[..., -self.context :]
        y = F.conv_transpose1d(x, self.weight, self.bias, self.stride, 0, 0, self.groups)
        start = self.context * self.stride
        return y[..., start : start + frames * self.stride]
