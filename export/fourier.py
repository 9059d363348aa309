"""Fourier transforms and overlap-add as matrix products, which every version of ONNX Runtime has and browsers as well.

A length n = a * b is done in two steps of lengths a and b with a rotation between them, so sums are short: it is as exact as a
fast Fourier transform, and far cheaper than one product with n columns. The graph's own DFT is not used: inverse and one-sided,
it is refused by ONNX Runtime up to 1.24.

Source: Cooley and Tukey, "An algorithm for the machine calculation of complex Fourier series", 1965.
"""

import math

import torch
from torch import Tensor, nn


def factors(n: int) -> tuple[int, int]:
    """Return the two factors of n that lie closest to each other, the smaller first."""
    small = next(a for a in range(math.isqrt(n), 0, -1) if n % a == 0)
    return small, n // small


def _turns(rows: Tensor, columns: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine of 2 pi r c / n for all pairs; products are reduced first, so that large ones lose nothing."""
    angle = (rows[:, None] * columns) % n * (2 * math.pi / n)
    return angle.cos(), angle.sin()


class RealFourier(nn.Module):
    """x [batch, frames, n] to n // 2 + 1 bins and a few beyond them: sum over t of x[t] exp(-2 pi i t k / n)."""

    first: Tensor
    cosine: Tensor
    sine: Tensor
    second: Tensor

    def __init__(self, n: int) -> None:
        super().__init__()
        self.a, self.b = factors(n)
        self.bins = n // 2 + 1
        self.rows = -(-self.bins // self.a)
        a, b = (torch.arange(k, dtype=torch.float64) for k in (self.a, self.b))
        self.register_buffer("first", torch.cat([(c := _turns(a, a, self.a))[0], -c[1]]).float())  # [2 a, a]
        cosine, sine = _turns(a, b, n)
        self.register_buffer("cosine", cosine.float())
        self.register_buffer("sine", sine.float())
        cosine, sine = _turns(b, torch.arange(self.rows, dtype=torch.float64), self.b)  # [b, rows]
        both = torch.cat([torch.cat([cosine, -sine], 1), torch.cat([sine, cosine], 1)])
        self.register_buffer("second", both.float())

    def forward(self, x: Tensor) -> Tensor:
        """Return the spectrum as tiles [batch, frames, a, 2, rows]: real and imaginary part of bin r * a + c at (c, :, r)."""
        batch, frames, _ = x.shape
        real, imag = (self.first @ x.reshape(batch, frames, self.a, self.b)).split(self.a, dim=2)
        turned = torch.cat([real * self.cosine + imag * self.sine, imag * self.cosine - real * self.sine], dim=3)
        return (turned @ self.second).reshape(batch, frames, self.a, 2, self.rows)

    def tiled(self, values: Tensor) -> Tensor:
        """Return values per bin [..., bins] in the order of the tiles, [..., a, rows], zeros where a tile repeats a bin."""
        filled = nn.functional.pad(values, (0, self.rows * self.a - self.bins))
        return filled.unflatten(-1, (self.rows, self.a)).transpose(-2, -1)


class InverseRealFourier(nn.Module):
    """The n real values [batch, frames, n] of a spectrum of n // 2 + 1 bins, n even."""

    first: Tensor
    cosine: Tensor
    sine: Tensor
    second: Tensor
    weight: Tensor

    def __init__(self, n: int) -> None:
        super().__init__()
        self.a, self.b = factors(n)
        self.n, bins = n, n // 2 + 1
        self.rows = -(-bins // self.a)
        self.fill = self.rows * self.a - bins
        a, b, rows = (torch.arange(k, dtype=torch.float64) for k in (self.a, self.b, self.rows))
        cosine, sine = _turns(b, rows, self.b)  # [b, rows]
        both = torch.cat([torch.cat([cosine, -sine], 1), torch.cat([sine, cosine], 1)])
        self.register_buffer("first", both.float())  # [2 b, 2 rows]
        cosine, sine = _turns(b, a, n)
        self.register_buffer("cosine", cosine.float())  # [b, a]
        self.register_buffer("sine", sine.float())
        cosine, sine = _turns(a, a, self.a)
        self.register_buffer("second", (torch.cat([cosine, -sine]) / n).float())  # [2 a, a]
        weight = torch.full((bins,), 2.0)  # the bins that are not there are the conjugates of these
        weight[0] = weight[-1] = 1.0
        self.register_buffer("weight", weight)

    def forward(self, real: Tensor, imag: Tensor) -> Tensor:
        """Return the values of the spectrum real + i imag; what is imaginary in the first and last bin is left out."""
        batch, frames, _ = real.shape
        parts = torch.stack([real, imag], dim=2) * self.weight
        return self.untiled(nn.functional.pad(parts, (0, self.fill)).flatten(0, 1)).reshape(batch, frames, self.n)

    def untiled(self, parts: Tensor) -> Tensor:
        """Return the values [count, n] of weighted and filled spectra [count, 2, rows * a]."""
        tiles = parts.reshape(parts.shape[0], 2 * self.rows, self.a)
        real, imag = (self.first @ tiles).split(self.b, dim=1)
        turned = torch.cat([real * self.cosine - imag * self.sine, real * self.sine + imag * self.cosine], dim=2)
        return (turned @ self.second).transpose(1, 2).reshape(parts.shape[0], self.n)


def overlap_add(pieces: Tensor, state: Tensor, hop: int) -> tuple[Tensor, Tensor]:
    """Add windows that start `hop` apart, without writing in place: what `codecs.layers.stft.overlap_add` returns.

    Args:
        pieces: [batch, frames, window], window a multiple of `hop`.
        state: [batch, window - hop], what earlier windows left over.
        hop: samples from one window to the next.
    """
    batch, frames, window = pieces.shape
    parts = window // hop
    split = pieces.reshape(batch, frames, parts, hop)
    out = sum_of([nn.functional.pad(split[:, :, part], (0, 0, part, parts - 1 - part)) for part in range(parts)])
    kept = out[:, : parts - 1] + state.reshape(batch, parts - 1, hop)
    out = torch.cat([kept, out[:, parts - 1 :]], dim=1)
    return out[:, :frames].reshape(batch, frames * hop), out[:, frames:].reshape(batch, window - hop)


def sum_of(parts: list[Tensor]) -> Tensor:
    """Add tensors pairwise from the left."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
