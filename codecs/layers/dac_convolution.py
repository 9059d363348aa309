"""Zero-padded convolutions with the activation before them, and the residual unit, in blocks of time that stay in cache.

On the CPU, when no gradient is wanted, a layer works on time-major memory block after block: the activation of a block is
written between zeros or its neighbours' samples, and matrix products read it while it is in cache, so that no activation of
the whole signal is ever formed. Elsewhere the same layers are torch's own convolutions.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...kernels.depthwise import depthwise
from ...kernels.snake_rows import Bend, snake_rows
from ...kernels.workers import share
from . import activation, rows, toom_cook
from .conv import _Packs

BLOCK = 1 << 18  # elements of a block of activations: 1 MB; smaller ones stay nearer, but their calls cost a fifth more
MIN_ROWS = 2048  # rows of a block of wide layers, whose weights are read anew for each


class Snake(activation.Snake):
    """Snake, which blocks of rows take as its parameters."""

    reach = 0  # samples beyond its own that an output sees

    @property
    def bend(self) -> Bend:
        """What `snake_rows` takes."""
        alpha = self.alpha.view(-1)
        return Bend.of(alpha, alpha)


class Conv(_Packs, nn.Conv1d):
    """Convolution [batch, in, time] -> [batch, out, time], or time / stride with a kernel of two strides."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        dilation: int = 1,
        depthwise: bool = False,
        bias: bool = True,
    ) -> None:
        padding = -(-stride // 2) if stride > 1 else (kernel - 1) * dilation // 2  # an integer: never "same" or "valid"
        groups = in_channels if depthwise else 1
        super().__init__(in_channels, out_channels, kernel, stride, padding, dilation, groups, bias)

    def forward(self, x: Tensor, before: nn.Module | None = None) -> Tensor:
        """Return the convolution of x, or of the activation `before` of x."""
        packed = self._pack(x)
        if packed is None:
            return super().forward(x if before is None else before(x))
        x, bend = _pointwise(x, before)
        last = (x.shape[-1] + 2 * int(self.padding[0]) - self._span) // self.stride[0] + 1
        return _in_blocks(
            x, last, self.out_channels, self.stride[0], self.weight.numel(),
            lambda item, a, b, out: self.write(packed, item, a, b, bend, out),
        )  # fmt: skip

    @property
    def _span(self) -> int:
        return (self.kernel_size[0] - 1) * self.dilation[0] + 1

    def write(
        self,
        packed: rows.Packed,
        x: Tensor,
        first: int,
        last: int,
        before: Bend | None,
        out: Tensor,
        seen: Sequence[Tensor] = (),
        after: Bend | None = None,
    ) -> None:
        """Write rows `first` to `last` of the output of rows x [time, in], or Snake `after` of it; `seen` as in `window`."""
        stride, first, count = self.stride[0], first * self.stride[0] - int(self.padding[0]), last - first
        if packed.kind == "toom_cook":
            part = window(x, first, first + toom_cook.rows_for(count, packed.dilation), before, seen)
            return toom_cook.write(packed.matrices, packed.bias, packed.dilation, part, after, out)
        part = window(x, first, first + (count - 1) * stride + self._span, before, seen)
        if packed.kind == "depthwise":
            return depthwise(part, packed.matrices[0], packed.bias, packed.dilation, after, out)
        rows.convolve(packed, part[None], out=out[None])
        if after is not None:
            snake_rows(out, after, out)

    def _make_pack(self) -> rows.Packed | None:
        if self.groups > 1:
            filters = self.weight[:, 0].T.contiguous()
            return rows.Packed("depthwise", (filters,), self.bias, 1, self.dilation[0], self.kernel_size[0])
        if self.kernel_size[0] == toom_cook.TAPS and toom_cook.worth(min(self.in_channels, self.out_channels)):
            parts = toom_cook.pack(self.weight)
            return rows.Packed("toom_cook", parts, self.bias, 1, self.dilation[0], toom_cook.TAPS)
        return rows.pack_conv(self.weight, self.bias, self.stride[0], self.dilation[0])


class ConvTranspose(_Packs, nn.ConvTranspose1d):
    """Transposed convolution with a kernel of two strides: [batch, in, time] -> [batch, out, time * stride].

    Without `keeps_length` an odd stride gives one sample less, cut off at the end.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, keeps_length: bool) -> None:
        extra = stride % 2 if keeps_length else 0
        super().__init__(in_channels, out_channels, 2 * stride, stride, -(-stride // 2), extra)

    def forward(self, x: Tensor, before: nn.Module | None = None) -> Tensor:
        """Return the transposed convolution of x, or of the activation `before` of x."""
        packed = self._pack(x)
        if packed is None:
            return super().forward(x if before is None else before(x))
        x, bend = _pointwise(x, before)
        stride, pad, frames = self.stride[0], int(self.padding[0]), x.shape[-1]
        whole = _in_blocks(
            x, frames + 1, stride * self.out_channels, 1, self.weight.numel(),
            lambda item, a, b, out: rows.convolve(packed, window(item, a - 1, b, bend)[None], out=out[None]),
        )  # fmt: skip
        samples = whole.transpose(1, 2).view(x.shape[0], -1, self.out_channels).transpose(1, 2)
        return samples[..., pad : frames * stride + stride - pad + self.output_padding[0]]

    def _make_pack(self) -> rows.Packed | None:
        return rows.pack_transposed(self.weight, self.bias, self.stride[0])


class ResidualUnit(nn.Module):
    """x plus a dilated convolution of 7 and one of 1, an activation before each."""

    def __init__(self, channels: int, dilation: int, before: nn.Module, between: nn.Module, depthwise: bool) -> None:
        super().__init__()
        self.before = before
        self.dilated = Conv(channels, channels, 7, dilation=dilation, depthwise=depthwise)
        self.between = between
        self.mixed = Conv(channels, channels, 1)

    def forward(self, x: Tensor, owned: bool = False) -> Tensor:
        """Return the output for x [batch, channels, time], which it may overwrite where x is `owned`, nobody else's."""
        dilated, mixed, before, between = self.dilated._pack(x), self.mixed._pack(x), self.before, self.between
        if dilated is None or mixed is None or not isinstance(before, Snake) or not isinstance(between, Snake):
            return x + self.mixed(self.dilated(x, before), between)
        bends, reach = (before.bend, between.bend), int(self.dilated.padding[0])

        def unit(item: Tensor, first: int, last: int, out: Tensor, seen: Sequence[Tensor] = ()) -> None:
            seen = seen or (item[max(0, first - reach) : last + reach],)
            hidden = torch.empty_like(out)
            self.dilated.write(dilated, item, first, last, bends[0], hidden, seen, after=bends[1])
            if not owned:
                out.copy_(item[first:last])
            rows.convolve(mixed, hidden[None], onto=out[None])

        weights = self.dilated.weight.numel() + self.mixed.weight.numel()
        if owned:
            return _over(x, reach, weights, unit)
        return _in_blocks(x, x.shape[-1], x.shape[1], 1, weights, unit)


class Units(nn.Sequential):
    """Residual units one after another, which write over each other's outputs where they may."""

    def forward(self, x: Tensor, owned: bool = False) -> Tensor:
        """Return the output of the last for x [batch, channels, time], which the first may overwrite where it is `owned`."""
        for unit in self:
            x, owned = unit(x, owned), True
        return x


def window(x: Tensor, first: int, last: int, before: Bend | None, seen: Sequence[Tensor] = ()) -> Tensor:
    """Return rows `first` to `last` of the activation of x [time, channels], zeros beyond its ends.

    `seen` are the rows of x from there on that count, in pieces, where others write over x; zeros follow them.
    """
    parts = seen or [x[max(0, first) : max(0, last)]]
    if before is None and len(parts) == 1 and len(parts[0]) == last - first:
        return parts[0]
    out, end = x.new_empty(last - first, x.shape[1]), max(0, -first)
    out[:end] = 0
    for part in parts:
        place, end = out[end : end + len(part)], end + len(part)
        if before is None:
            place.copy_(part)
        else:
            snake_rows(part, before, place)
    out[end:] = 0
    return out


def _in_blocks(
    x: Tensor, length: int, width: int, stride: int, weights: int, work: Callable[[Tensor, int, int, Tensor], object]
) -> Tensor:
    """Return [batch, width, length] of x [batch, channels, time], whose rows `work(item, first, last, out)` writes.

    `weights` is how many numbers each row is multiplied by.
    """
    x = x.transpose(1, 2).contiguous()
    out = x.new_empty(x.shape[0], length, width)
    spans = list(_spans(length, max(width, stride * x.shape[2]), stride, torch.get_num_threads()))
    jobs = [(item, first, last, result[first:last]) for item, result in zip(x, out, strict=True) for first, last in spans]
    _share(jobs, 2 * x.shape[0] * length * weights, work)
    return out.transpose(1, 2)


def _over(x: Tensor, reach: int, weights: int, work: Callable[[Tensor, int, int, Tensor, Sequence[Tensor]], object]) -> Tensor:
    """Let `work(item, first, last, out, seen)` write the rows of x [batch, channels, time] over them, and return it.

    What takes new memory for a whole signal waits for the system to clear it. `seen` are the rows that a block sees, `reach` of
    them on either side, copied before anything is written.
    """
    x = x.transpose(1, 2).contiguous()
    spans = list(_spans(x.shape[1], x.shape[2], 1, torch.get_num_threads()))
    jobs = [(item, first, last, item[first:last], _around(item, first, last, reach)) for item in x for first, last in spans]
    _share(jobs, 2 * x.shape[0] * x.shape[1] * weights, work)
    return x.transpose(1, 2)


def _around(x: Tensor, first: int, last: int, reach: int) -> tuple[Tensor, ...]:
    return x[max(0, first - reach) : first].clone(), x[first:last], x[last : last + reach].clone()


def _share(jobs: list[Any], operations: int, work: Callable[..., object]) -> None:
    """Call `work` with each job's arguments; threads take them in turn."""

    def work_on(parts: Iterator[slice]) -> None:
        for part in parts:
            for job in jobs[part]:
                work(*job)

    if jobs:
        share(work_on, len(jobs), lambda workers: 1, operations)


def _spans(length: int, width: int, stride: int, threads: int = 1) -> Iterator[tuple[int, int]]:
    """Yield where blocks of rows begin and end, `width` the values under one of them; as many for each thread."""
    count = -(-length // max(MIN_ROWS // stride, BLOCK // width))
    size = max(1, -(-length // (-(-count // threads) * threads))) if count else 1
    for first in range(0, length, size):
        yield first, min(length, first + size)


def _pointwise(x: Tensor, before: nn.Module | None) -> tuple[Tensor, Bend | None]:
    """Return x and the activation still to come: one that sees more than its own sample comes first, over the whole."""
    if isinstance(before, Snake):
        return x, before.bend
    return x if before is None else before(x), None
