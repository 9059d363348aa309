"""Convolutions of `codecs.layers.conv` in a graph: shapes never depend on values, whatever comes first or last.

x is [batch, time, channels] throughout, as the products of `rows` need it.

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
from .rows import FEW_ROWS, Chain, Packets, TwoTaps, Windows, affine, packet, rows


@dataclass
class Pass:
    """One pass through layers in order: takes the states by name, and collects those after it.

    Attributes:
        before: states.
        started: bool [batch, 1, 1], whether anything came before this piece.
        length: int64 [1], samples that count at the present layer; None where all do.
        unit: samples of a unit at the present layer, where `length` is given.
    """

    before: dict[str, Tensor]
    started: Tensor
    length: Tensor | None = None
    unit: int = 1

    def __post_init__(self) -> None:
        self.after: dict[str, Tensor] = {}


class PlainConv(nn.Module):
    """A convolution; a causal one has a state, under its name: the samples before the piece."""

    def __init__(self, conv: Conv1d, name: str, rate: int) -> None:
        """Take a layer that sees `rate` samples of a unit."""
        super().__init__()
        self.name, self.causal, self.stride, self.sides = name, conv.causal, conv.stride[0], conv.sides
        self.inputs, self.context, self.rate = conv.in_channels, conv.context, rate
        self.mirrors, self.repeats = conv.pad_mode == "reflect", conv.pad_mode == "replicate"
        self.kernel = _kernel(conv, rate)

    def states(self, batch: int) -> dict[str, Tensor]:
        """Return its state before the first sample, if it has one."""
        return {self.name: torch.zeros(batch, self.context, self.inputs)} if self.context and self.causal else {}

    def forward(self, x: Tensor, walk: Pass) -> Tensor:
        """Return the output of the next piece, a multiple of the stride."""
        before = self.before(x, walk) if self.sides[0] else x[:, :0]
        if self.context and self.causal:
            walk.after[self.name] = _last(before, x, self.context, self.rate)
        tail, cut = None, 0
        if self.mirrors and walk.length is not None and (self.stride > 1 or self.sides[1]):
            tail, cut = self._mirror_end(before, x, walk), walk.unit
        if walk.length is not None:
            walk.length = torch.div(walk.length + self.stride - 1, self.stride, rounding_mode="floor")
            walk.unit //= self.stride
        if tail is not None and not self.in_pieces:
            x, tail, cut = torch.cat([x[:, : x.shape[1] - cut], tail], dim=1), None, 0
        if not self.causal and self.context:  # what stands in front of the first output reaches into the piece
            joined = torch.cat([before, x], dim=1)
            before, x = joined[:, : self.context], joined[:, self.context :]
        return self.kernel(before, x, tail, cut) if self.in_pieces else self.kernel(before, x)

    @property
    def in_pieces(self) -> bool:
        """Whether the convolution takes its samples in pieces."""
        return self.causal and isinstance(self.kernel, TwoTaps)

    def before(self, x: Tensor, walk: Pass) -> Tensor:
        """Return what stands before the piece: the state, or the padding that the beginning gets."""
        if self.repeats:
            return torch.where(walk.started, walk.before[self.name], x[:, :1])
        if not self.mirrors:
            return walk.before[self.name]
        place = torch.arange(self.sides[0], 0, -1)
        mirrored = x.index_select(1, place.clamp(max=x.shape[1] - 1))
        known = place < (x.shape[1] if walk.length is None else walk.length)
        mirrored = mirrored * known.to(x.dtype)[:, None]
        return torch.where(walk.started, walk.before[self.name], mirrored) if self.causal else mirrored

    def _mirror_end(self, before: Tensor, x: Tensor, walk: Pass) -> Tensor:
        """Return the last unit of a piece as it is where the audio ends in it, and what stands behind.

        A beginning too short to be mirrored is lengthened with zeros first, as in `codecs.layers.padding.pad_time`.
        """
        assert walk.length is not None
        front, behind = self.sides
        samples = x.shape[1]
        fill = torch.remainder(-walk.length, self.stride) + behind
        short = (fill.clamp(min=front) - walk.length + 1).clamp(min=0) * (~walk.started[0, 0]).to(torch.int64)
        end = walk.length + short
        place = torch.arange(walk.unit + behind) + (samples - walk.unit)
        source = torch.where(place < end, place, 2 * end - 2 - place)
        own = x.index_select(1, source.clamp(min=0, max=samples - 1))
        earlier = before.index_select(1, (source + front).clamp(min=0, max=front - 1)) if front else own
        return torch.where((source < 0)[:, None], earlier, own) * (source < walk.length).to(x.dtype)[:, None]


class _Pointwise(nn.Module):
    """A kernel of one sample."""

    def __init__(self, taps: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", taps[0].clone())
        self.register_buffer("bias", bias.clone())

    def forward(self, before: Tensor, x: Tensor) -> Tensor:
        """Return [batch, samples, outputs]; nothing stands before."""
        return affine(x, self.get_buffer("weight"), self.get_buffer("bias"))


class _Other(nn.Module):
    """Whatever does not come in rows."""

    def __init__(self, conv: Conv1d) -> None:
        super().__init__()
        self.options = (conv.stride[0], 0, conv.dilation[0], conv.groups)
        self.weight, self.bias = _copied(conv)

    def forward(self, before: Tensor, x: Tensor) -> Tensor:
        """Return [batch, samples, outputs]."""
        joined = torch.cat([before, x], dim=1).transpose(1, 2)
        return F.conv1d(joined, self.weight, self.bias, *self.options).transpose(1, 2)


def _kernel(conv: Conv1d, rate: int) -> nn.Module:
    """Return the fastest way to convolve `rate` samples a unit."""
    (kernel,), (stride,), (dilation,) = conv.kernel_size, conv.stride, conv.dilation
    taps, bias = conv.weight.detach().permute(2, 1, 0), bias_of(conv)
    if conv.groups > 1:
        return _Other(conv)
    if stride > 1:
        return TwoTaps(taps, bias, stride, rate // stride) if kernel == 2 * stride and dilation == 1 else _Other(conv)
    if kernel == 1:
        return _Pointwise(taps, bias)
    size = packet(taps, rate) if dilation == 1 else None
    if size:
        return Packets(taps, bias, size)
    return Windows(taps, bias, dilation) if rate <= FEW_ROWS or dilation > 1 else Chain(taps, bias)


def _last(before: Tensor, x: Tensor, count: int, rate: int) -> Tensor:
    """Return the last samples of a piece, which holds `rate` or more, and of what stands before it where that is too few."""
    return (x if rate >= count else torch.cat([before, x], dim=1))[:, -count:]


def bias_of(conv: Conv1d | ConvTranspose1d) -> Tensor:
    """Return a layer's bias, zeros where it has none."""
    return conv.weight.new_zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()


def _copied(conv: Conv1d | ConvTranspose1d) -> tuple[nn.Parameter, nn.Parameter]:
    return nn.Parameter(conv.weight.detach().clone()), nn.Parameter(bias_of(conv).clone())


class PlainUpsampling(nn.Module):
    """A causal transposed convolution under the name of its state."""

    def __init__(self, conv: ConvTranspose1d, name: str, rate: int) -> None:
        """Take a layer that sees `rate` samples of a unit."""
        super().__init__()
        self.name, self.rate, self.context, self.stride = name, rate, conv.context, conv.stride[0]
        self.inputs, self.outputs, self.groups, self.taps = conv.in_channels, conv.out_channels, conv.groups, None
        if conv.groups == 1 and conv.kernel_size[0] == 2 * self.stride:
            taps = conv.weight.detach().unflatten(2, (2, self.stride)).permute(2, 0, 3, 1).flatten(2)
            self.taps = TwoTaps(taps.flip(0), bias_of(conv).repeat(self.stride), 1, rate)
        else:
            self.weight, self.bias = _copied(conv)

    def states(self, batch: int) -> dict[str, Tensor]:
        """Return its state before the first input."""
        return {self.name: torch.zeros(batch, self.context, self.inputs)} if self.context else {}

    def forward(self, x: Tensor, walk: Pass) -> Tensor:
        """Return the output of the next piece."""
        before = walk.before[self.name] if self.context else x[:, :0]
        if self.context:
            walk.after[self.name] = _last(before, x, self.context, self.rate)
        if self.taps is not None:
            return rows(self.taps(before, x), self.outputs)
        joined = torch.cat([before, x], dim=1).transpose(1, 2)
        y = F.conv_transpose1d(joined, self.weight, self.bias, self.stride, 0, 0, self.groups)
        start = self.context * self.stride
        return y[..., start : start + x.shape[1] * self.stride].transpose(1, 2)
