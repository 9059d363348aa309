"""Convolutions in a graph as matrix products over rows of samples [batch, rows, channels], as in `codecs.layers.rows`.

ONNX Runtime's own convolution of one axis copies every window, and its transposed one adds up every window's product. Samples
in time-major memory need neither: `stride` of them are one row, and rows that follow each other meet in sums of products. Each
class here takes the samples before the piece apart from it, so that the piece itself is never copied.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .functions import SIGNATURES, operator
from .operators import delayed, strided

PAIRED, PAIRED_ROWS = 2**15, 8  # values of a matrix, and rows of a unit, from which pairs of them save products
FEW_ROWS = 4  # rows of a unit up to which the copied windows are small beside the weights
NARROW = 16  # kernel times channels up to which `Packets` are worth more products than are needed
PACKET = 8  # samples of a packet at least


@torch.library.custom_op("toneme::product", mutates_args=())
def product(x: Tensor, weight: Tensor) -> Tensor:
    """Return x [batch, rows, inputs] times weight [inputs, outputs].

    This, `affine` and `rows` are operators of their own, since `torch.export` proves at length that each view of unknown sizes
    can be had: a trace took twice as long.
    """
    return x @ weight


@product.register_fake
def _(x: Tensor, weight: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], x.shape[1], weight.shape[1])


@torch.library.custom_op("toneme::affine", mutates_args=())
def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return x [batch, rows, inputs] times weight [inputs, outputs], and a bias: in one pass, which two would not be."""
    return x @ weight + bias


@affine.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], x.shape[1], weight.shape[1])


@torch.library.custom_op("toneme::rows", mutates_args=())
def rows(x: Tensor, width: int) -> Tensor:
    """Return x [batch, samples, channels] as rows of `width` values [batch, rows, width]."""
    return x.reshape(x.shape[0], -1, width).clone()


@rows.register_fake
def _(x: Tensor, width: int) -> Tensor:
    inner = x.shape[2]
    count = x.shape[1] * (inner // width) if inner >= width else x.shape[1] // (width // inner)
    return x.new_empty(x.shape[0], count, width)


@torch.library.custom_op("toneme::anew", mutates_args=())
def anew(x: Tensor) -> Tensor:
    """Return x [batch, samples, channels], how many samples being a number of its own in the graph.

    Behind strides of a length that no factor divides the tracer knows but quotients of quotients, and proves nothing of them.
    """
    return x.clone()


@anew.register_fake
def _(x: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], torch.library.get_ctx().new_dynamic_size(min=2), x.shape[2])


@torch.library.custom_op("toneme::beside", mutates_args=())
def beside(x: Tensor, y: Tensor) -> Tensor:
    """Return x and y, each [batch, samples, channels], channel after channel: they are as long, which need not be proven."""
    return torch.cat([x, y], dim=2)


@beside.register_fake
def _(x: Tensor, y: Tensor) -> Tensor:
    return y.new_empty(y.shape[0], y.shape[1], x.shape[2] + y.shape[2])


def translations() -> dict[Any, Any]:
    """Return how the exporter writes the operators defined here."""
    from onnxscript import opset18

    op: Any = opset18  # its types know symbols of a graph only
    sums = operator("Affine", *SIGNATURES["Affine"])

    def reshaped(x: Any, width: int) -> Any:
        return op.Reshape(x, op.Constant(value_ints=[0, -1, width]))

    return {
        torch.ops.toneme.product.default: lambda x, weight: op.MatMul(x, weight),
        torch.ops.toneme.affine.default: lambda x, weight, bias: sums(x, weight, bias, turned=0),
        torch.ops.toneme.rows.default: reshaped,
        torch.ops.toneme.anew.default: lambda x: op.Identity(x),
        torch.ops.toneme.beside.default: lambda x, y: op.Concat(x, y, axis=2),
    }


def shifted(before: Tensor, x: Tensor) -> Tensor:
    """Return x [batch, rows, ...] later by the rows of `before`, which come first."""
    return torch.cat([before, x], dim=1)[:, : -before.shape[1]]


class TwoTaps(nn.Module):
    """A convolution of two strides, of samples in up to three pieces that are not joined for it."""

    both: Tensor | None

    def __init__(self, taps: Tensor, bias: Tensor, stride: int, count: int) -> None:
        """Take taps [2 * stride, inputs, outputs] and the rows of a unit: pairs of them lie in one."""
        super().__init__()
        large = taps.numel() >= 2 * PAIRED
        self.stride, paired = stride, large and count % 2 == 0 and count >= PAIRED_ROWS
        self.register_buffer("matrix", taps.flatten(0, 1).clone())
        self.register_buffer("both", taps.unflatten(0, (2, -1)).sum(0).flatten(0, 1) if paired else None)
        self.register_buffer("bias", bias.clone())

    def forward(self, before: Tensor, x: Tensor, tail: Tensor | None = None, cut: int = 0) -> Tensor:
        """Return [batch, rows, outputs] of x [batch, samples, inputs] behind `before`, its last `cut` samples being `tail`."""
        tail = x[:, :0] if tail is None else tail
        return strided(x, before, tail, self.get_buffer("matrix"), self.get_buffer("bias"), self.both, self.stride, cut)


class Chain(nn.Module):
    """Taps [kernel, inputs, outputs] one after another, each product added to those of the taps before it."""

    def __init__(self, taps: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.kernel = len(taps)
        for number, tap in enumerate(taps):
            self.register_buffer(f"tap{number}", tap.clone())
        self.register_buffer("bias", bias.clone())

    def forward(self, before: Tensor, x: Tensor) -> Tensor:
        """Return [batch, samples, outputs] of x [batch, samples, inputs] behind `before` [batch, kernel - 1, inputs]."""
        tap, bias = self.get_buffer("tap0"), self.get_buffer("bias")
        y, early = affine(x, tap, bias), affine(before, tap, bias)
        for number in range(1, self.kernel):
            tap, last = self.get_buffer(f"tap{number}"), early[:, -1:]
            if number < self.kernel - 1:
                before = before[:, 1:]
                early = product(before, tap) + early[:, :-1]
            y = delayed(product(x, tap), y, last)
        return y


class Windows(nn.Module):
    """Copied windows of a dilated convolution, and one product."""

    def __init__(self, taps: Tensor, bias: Tensor, dilation: int) -> None:
        super().__init__()
        self.kernel, self.dilation = len(taps), dilation
        self.register_buffer("weight", taps.flatten(0, 1).clone())
        self.register_buffer("bias", bias.clone())

    def forward(self, before: Tensor, x: Tensor) -> Tensor:
        """Return [batch, samples, outputs] of x [batch, samples, inputs] behind the samples that the kernel sees before."""
        count, joined = x.shape[1], torch.cat([before, x], dim=1)
        starts = range(0, self.kernel * self.dilation, self.dilation)
        windows = torch.cat([joined[:, start : start + count] for start in starts], dim=2)
        return affine(windows, self.get_buffer("weight"), self.get_buffer("bias"))


class Packets(nn.Module):
    """A convolution from or to few channels, of so many samples at once that a product over them and those before pays."""

    def __init__(self, taps: Tensor, bias: Tensor, size: int) -> None:
        """Take taps [kernel, inputs, outputs] and the samples of a packet, at least kernel - 1."""
        super().__init__()
        kernel, inputs, outputs = taps.shape
        self.size, self.kernel, self.enters = size, kernel, inputs < outputs
        wide = taps.new_zeros(2 * size, inputs, size, outputs)
        for sample in range(size):
            wide[size + sample - kernel + 1 : size + sample + 1, :, sample] = taps
        wide = wide.reshape(2, size * inputs, size * outputs)
        self.register_buffer("weight", wide.flatten(0, 1) if self.enters else torch.cat([*wide], dim=1))
        self.register_buffer("bias", bias.repeat(size))

    def forward(self, before: Tensor, x: Tensor) -> Tensor:
        """Return [batch, samples, outputs] of x [batch, samples, inputs] behind `before` [batch, kernel - 1, inputs]."""
        inputs, weight, bias = x.shape[2], self.get_buffer("weight"), self.get_buffer("bias")
        x = rows(x, self.size * inputs)
        before = rows(F.pad(before, (0, 0, self.size - self.kernel + 1, 0)), self.size * inputs)
        if self.enters:
            y = affine(torch.cat([shifted(before, x), x], dim=2), weight, bias)
        else:
            later, own = product(x, weight).split(len(bias), dim=2)
            y = own + bias + shifted(product(before, weight[:, : len(bias)]), later)
        return rows(y, len(bias) // self.size)


def packet(taps: Tensor, rate: int) -> int | None:
    """Return the samples of a packet for taps [kernel, inputs, outputs] at `rate` samples a unit, or None where none fits."""
    kernel, inputs, outputs = taps.shape
    sizes = [size for size in range(max(PACKET, kernel - 1), 2 * PACKET + 1) if rate % size == 0]
    return sizes[0] if kernel * min(inputs, outputs) <= NARROW and sizes else None
