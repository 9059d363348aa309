"""Convolutions of spectrograms in the order of work that suits a processor; on other devices they are PyTorch's own.

With oneDNN on AVX2, 32 channels and kernels of 3 frames and 9 bins, channels innermost in memory let the forward pass take 2.5
times less, but the weight's gradient twice as much. Both gradients of dilated kernels are slow either way: the input's is taken
as the sum of convolutions without stride, one for each phase of the stride, the weight's as one product of shifted copies; that
is two to five times as fast. tests/recipes/discriminators compares all of it with PyTorch's, benchmarks/train.py times it.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

INNERMOST = torch.channels_last


@dataclass(frozen=True)
class Shape:
    """How a kernel moves: stride in bins, padding of frames and bins, dilation in frames."""

    stride: int
    padding: tuple[int, int]
    dilation: int

    def apply(self, maps: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the convolution of maps [batch, channels, frames, bins]."""
        return F.conv2d(maps, weight, bias, (1, self.stride), self.padding, (self.dilation, 1))

    def gradients(self, gradient: Tensor, maps: Tensor, weight: Tensor, mask: list[bool]) -> tuple[Tensor, ...]:
        """Return PyTorch's gradients of maps, weight and bias, those in the mask."""
        moves = (1, self.stride), self.padding, (self.dilation, 1)
        return torch.ops.aten.convolution_backward(gradient, maps, weight, None, *moves, False, [0, 0], 1, mask)


class SpectralConv2d(nn.Conv2d):
    """`nn.Conv2d` of maps [batch, channels, frames, bins], the same up to rounding; as many frames come out as go in.

    Args:
        channels: of the maps.
        width: channels of what comes out.
        kernel: frames and bins.
        stride: in bins.
        dilation: in frames.
    """

    def __init__(self, channels: int, width: int, kernel: tuple[int, int], stride: int = 1, dilation: int = 1) -> None:
        padding = dilation * (kernel[0] // 2), kernel[1] // 2
        super().__init__(channels, width, kernel, (1, stride), padding, (dilation, 1))
        self.shape = Shape(stride, padding, dilation)

    def forward(self, maps: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return [batch, width, frames, bins / stride]."""
        if maps.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
            return super().forward(maps)
        return Convolution.apply(maps, self.weight, self.bias, self.shape)  # type: ignore[return-value]


class Convolution(torch.autograd.Function):
    """A convolution whose maps lie with channels innermost, and its gradients."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor | None, shape: Shape) -> Tensor:
        """Return the maps after it."""
        maps = maps.contiguous(memory_format=INNERMOST)
        ctx.save_for_backward(maps, weight)
        ctx.shape = shape
        return shape.apply(maps, weight.contiguous(memory_format=INNERMOST), bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        """Return the gradients that are asked for."""
        (maps, weight), (for_maps, for_weight, for_bias, _) = ctx.saved_tensors, ctx.needs_input_grad
        gradient = gradient.contiguous(memory_format=INNERMOST)
        return (
            maps_gradient(gradient, maps, weight, ctx.shape) if for_maps else None,
            weight_gradient(gradient, maps, weight, ctx.shape) if for_weight else None,
            gradient.sum((0, 2, 3)) if for_bias else None,
            None,
        )


def maps_gradient(gradient: Tensor, maps: Tensor, weight: Tensor, shape: Shape) -> Tensor:
    """Return the gradient [batch, channels, frames, bins] of the maps before a convolution."""
    if shape.dilation == 1 or shape.stride == 1:
        return shape.gradients(gradient, maps, weight.contiguous(memory_format=INNERMOST), [True, False, False])[0]
    (batch, channels, frames, bins), (_, around) = maps.shape, shape.padding
    stride, straight = shape.stride, Shape(1, (shape.padding[0], 0), shape.dilation)
    found = gradient.new_zeros(batch, frames, bins + 2 * around + stride, channels)
    for phase in range(stride):
        part = weight[..., phase::stride].contiguous(memory_format=INNERMOST)
        seen = gradient.shape[3] + part.shape[3] - 1
        like = torch.empty((batch, channels, frames, seen), dtype=maps.dtype, memory_format=INNERMOST)  # its shape counts
        own = straight.gradients(gradient, like, part, [True, False, False])[0]
        found[:, :, phase : phase + stride * seen : stride] = own.permute(0, 2, 3, 1)
    return found[:, :, around : around + bins].permute(0, 3, 1, 2)


def weight_gradient(gradient: Tensor, maps: Tensor, weight: Tensor, shape: Shape) -> Tensor:
    """Return the gradient [width, channels, frames, bins] of a kernel."""
    if shape.dilation == 1:
        return shape.gradients(gradient.contiguous(), maps.contiguous(), weight, [False, True, False])[1]
    width, channels, high, wide = weight.shape
    span = gradient.shape[3] + (wide - 1) // shape.stride  # bins of each phase that outputs see
    total = gradient.new_zeros(wide, high * width, channels)
    for late, early in zip(gradient.permute(0, 2, 3, 1), maps.permute(0, 2, 3, 1), strict=True):  # [frames, bins, channels]
        after = _after(late, high, span, shape)
        for phase in range(shape.stride):
            before = _before(early, len(range(phase, wide, shape.stride)), phase, span, shape)
            total[phase :: shape.stride] += (after.t() @ before).unflatten(1, (-1, channels)).transpose(0, 1)
    return total.view(wide, high, width, channels).permute(2, 3, 1, 0)


def _after(late: Tensor, high: int, span: int, shape: Shape) -> Tensor:
    """Return, for each padded frame and bin of a phase, the gradients [high * width] of what it gives to through each row."""
    frames, bins, width = late.shape
    found = late.new_zeros(frames + 2 * shape.padding[0], span, high, width)
    for row in range(high):
        start = row * shape.dilation
        found[start : start + frames, :bins, row] = late
    return found.view(-1, high * width)


def _before(early: Tensor, taps: int, phase: int, span: int, shape: Shape) -> Tensor:
    """Return, for each padded frame and bin of a phase, what it and the next ones hold, [taps * channels]."""
    (frames, _, channels), (above, left), stride = early.shape, shape.padding, shape.stride
    found = early.new_zeros(frames + 2 * above, span, taps, channels)
    for tap in range(taps):
        first = max(0, -(-(left - phase - stride * tap) // stride))  # bins before it are padding
        source = early[:, phase + stride * (first + tap) - left :: stride]
        count = min(span - first, source.shape[1])
        found[above : above + frames, first : first + count, tap] = source[:, :count]
    return found.view(-1, taps * channels)
