"""Convolutions as matrix products over time-major memory [batch, time, channels]: the CPU's path when no gradient is wanted.

There the samples under a stride are one row, so a kernel of J strides is J products without a copy of the input:
y[t] = sum over j of x[t + j] W[j]. The layers take this path by themselves where `usable` says so; results equal those of
`torch.nn.functional.conv1d` up to rounding, and every row is summed in the same order whatever the length.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

HALVED = 2**15  # values of a matrix, and rows, from which two taps are
HALVED_ROWS = 96  # worth the sums that make them three products of half the rows
NARROW = 64  # kernel times channels up to which one product over copied windows (or projected taps) is faster


@dataclass(frozen=True)
class Packed:
    """A convolution's weights as matrices [inputs, outputs]."""

    kind: str  # "taps", "windows" or "project"
    matrices: tuple[Tensor, ...]
    bias: Tensor | None
    stride: int
    dilation: int
    taps: int  # rows that one output row needs
    both: Tensor | None = None  # the sum of two large matrices


def usable(x: Tensor) -> bool:
    """Say whether the fast path may take x: on the CPU, in float32, no gradients, no export in progress."""
    plain = x.device.type == "cpu" and x.dtype == torch.float32
    return plain and not torch.is_grad_enabled() and not torch.compiler.is_compiling()


def pack_conv(weight: Tensor, bias: Tensor | None, stride: int, dilation: int) -> Packed | None:
    """Return the matrices of a convolution weight [out, in, kernel], or None where rows do not fit its stride."""
    out, width, kernel = weight.shape
    if kernel % stride or (stride > 1 and dilation > 1):
        return None
    by_tap = weight.permute(2, 1, 0)  # [kernel, in, out]
    if stride == 1 and dilation == 1 and width * kernel <= NARROW:
        return Packed("windows", (by_tap.reshape(-1, out).contiguous(),), bias, 1, 1, kernel)
    if stride == 1 and out * kernel <= NARROW // 2:
        return Packed("project", (by_tap.permute(1, 0, 2).reshape(width, -1).contiguous(),), bias, 1, dilation, kernel)
    matrices = by_tap.reshape(kernel // stride, stride * width, out).contiguous()
    return _taps(matrices, bias, stride, dilation)


def pack_transposed(weight: Tensor, bias: Tensor | None, stride: int) -> Packed | None:
    """Return the matrices of a transposed weight [in, out, kernel], one per stride of the kernel, or None as above."""
    if weight.shape[2] % stride:
        return None
    matrices, bias = transposed(weight, bias, stride)
    return _taps(matrices.contiguous(), bias, 1, 1)


def transposed(weight: Tensor, bias: Tensor | None, stride: int) -> tuple[Tensor, Tensor | None]:
    """Return the matrices [taps, in, stride * out], oldest tap first, of a weight [in, out, taps * stride], and their bias."""
    width, out, kernel = weight.shape
    matrices = weight.reshape(width, out, kernel // stride, stride).permute(2, 0, 3, 1).reshape(-1, width, stride * out)
    # the newest input meets the front of the kernel: row r of the output takes input r + j through part taps - 1 - j
    return matrices.flip(0), None if bias is None else bias.repeat(stride)


def _taps(matrices: Tensor, bias: Tensor | None, stride: int, dilation: int) -> Packed:
    large = len(matrices) == 2 and dilation == 1 and matrices[0].numel() >= HALVED
    return Packed("taps", tuple(matrices), bias, stride, dilation, len(matrices), matrices.sum(0) if large else None)


def convolve(packed: Packed, x: Tensor, onto: Tensor | None = None, out: Tensor | None = None) -> Tensor:
    """Return the valid convolution of x [batch, time, in] as [batch, rows, out], added to `onto` in place where given.

    Else it is written into `out` where given.
    """
    x = x.contiguous()
    if packed.kind == "windows":
        return _by_windows(packed, x, onto, out)
    if packed.kind == "project":
        return _by_projection(packed, x, onto, out)
    rows = x[:, : x.shape[1] // packed.stride * packed.stride].view(x.shape[0], -1, packed.stride * x.shape[2])
    length = max(0, rows.shape[1] - (packed.taps - 1) * packed.dilation)
    fresh = onto is None
    y = onto if onto is not None else x.new_empty(x.shape[0], length, packed.matrices[0].shape[1]) if out is None else out
    for item, to in zip(rows, y, strict=True):
        if packed.both is not None and fresh and length >= HALVED_ROWS:
            _by_halves(packed, item, to)
            continue
        for j, matrix in enumerate(packed.matrices):
            part = item[j * packed.dilation : j * packed.dilation + length]
            if fresh and j == 0:
                _product(part, matrix, packed.bias, to)
            else:
                to.addmm_(part, matrix)
    return y if fresh or packed.bias is None else y.add_(packed.bias)


def _by_halves(packed: Packed, x: Tensor, out: Tensor) -> None:
    """Write the product of rows x [n + 1, inputs] and two taps V and W into `out` [n, outputs]: a quarter less to multiply.

    Of rows a, b, c two outputs are aV + bW = b(V + W) + (a - b)V and bV + cW = b(V + W) - (b - c)W.
    Source: Winograd, "Arithmetic Complexity of Computations", 1980.
    """
    assert packed.both is not None
    steps, even, odd = x[:-1] - x[1:], out[::2], out[1::2]
    _product(x[1::2], packed.both, packed.bias, even)
    odd.copy_(even[: len(odd)])
    even.addmm_(steps[::2], packed.matrices[0])
    odd.addmm_(steps[1::2], packed.matrices[1], alpha=-1)


def _product(x: Tensor, matrix: Tensor, bias: Tensor | None, out: Tensor) -> None:
    torch.mm(x, matrix, out=out) if bias is None else torch.addmm(bias, x, matrix, out=out)


def _by_windows(packed: Packed, x: Tensor, onto: Tensor | None, out: Tensor | None) -> Tensor:
    batch, time, width = x.shape
    length = max(0, time - packed.taps + 1)
    windows = x.as_strided((batch, length, packed.taps * width), (time * width, width, 1)).reshape(-1, packed.taps * width)
    y = x.new_empty(batch, length, packed.matrices[0].shape[1]) if out is None else out
    _product(windows, packed.matrices[0], packed.bias, y.view(len(windows), -1))
    return y if onto is None else onto.add_(y)


def _by_projection(packed: Packed, x: Tensor, onto: Tensor | None, out: Tensor | None) -> Tensor:
    """Few outputs: every sample through all taps at once, then the taps shifted onto each other."""
    batch, time, _ = x.shape
    length = max(0, time - (packed.taps - 1) * packed.dilation)
    taps = (x @ packed.matrices[0]).view(batch, time, packed.taps, -1)
    first = taps[:, :length, 0]
    y = onto.add_(first) if onto is not None else first.clone() if out is None else out.copy_(first)
    for j in range(1, packed.taps):
        y.add_(taps[:, j * packed.dilation : j * packed.dilation + length, j])
    return y if packed.bias is None else y.add_(packed.bias)
