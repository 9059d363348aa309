"""Fourier transforms and overlap-add as matrix products, which every version of ONNX Runtime has and browsers as well.

A length n = a * b is done in two steps of lengths a and b with a rotation between them, so sums are short: it is as exact as a
fast Fourier transform, and far cheaper than one product with n columns. The graph's own DFT is not used: inverse and one-sided,
it is refused by ONNX Runtime up to 1.24.

Source: Cooley and Tukey, "An algorithm for the machine calculation of complex Fourier series", 1965.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Spectrum(NamedTuple):
    """Real and imaginary parts, [..., bins] each."""

    real: Tensor
    imag: Tensor


def factors(n: int) -> tuple[int, int]:
    """Return the two factors of n that lie closest to each other, the smaller first."""
    small = next(a for a in range(math.isqrt(n), 0, -1) if n % a == 0)
    return small, n // small


def _turns(rows: Tensor, columns: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine of 2 pi r c / n for all pairs; products are reduced first, so that large ones lose nothing."""
    angle = (rows[:, None] * columns) % n * (2 * math.pi / n)
    return angle.cos(), angle.sin()


class RealFourier(nn.Module):
    """x [batch, frames, n] to its spectrum, n // 2 + 1 bins of it: sum over t of x[t] exp(-2 pi i t k / n)."""

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

    def forward(self, x: Tensor) -> Spectrum:
        """Return the spectrum."""
        batch, frames, _ = x.shape
        real, imag = (self.first @ x.reshape(batch, frames, self.a, self.b)).split(self.a, dim=2)
        turned = torch.cat([real * self.cosine + imag * self.sine, imag * self.cosine - real * self.sine], dim=3)
        real, imag = (turned @ self.second).transpose(2, 3).split(self.rows, dim=2)
        return Spectrum(*(part.reshape(batch, frames, self.rows * self.a)[..., : self.bins] for part in (real, imag)))


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
        shape = (batch, frames, self.rows, self.a)
        parts = (nn.functional.pad(part * self.weight, (0, self.fill)).reshape(shape) for part in (real, imag))
        real, imag = (self.first @ torch.cat(list(parts), dim=2)).split(self.b, dim=2)
        turned = torch.cat([real * self.cosine - imag * self.sine, real * self.sine + imag * self.cosine], dim=3)
        return (turned @ self.second).transpose(2, 3).reshape(batch, frames, self.n)


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


class PlainSTFT(nn.Module):
    """`codecs.layers.stft.CausalSTFT` by products; a window is a whole number of hops."""

    taper: Tensor

    def __init__(self, window: int, hop: int, taper: Tensor) -> None:
        super().__init__()
        self.window, self.hop = window, hop
        self.register_buffer("taper", taper.clone())
        self.fourier = RealFourier(window)

    def step(self, waveform: Tensor, state: Tensor) -> tuple[Spectrum, Tensor]:
        """Transform the next samples [batch, frames * hop]; the state is the last `window - hop`."""
        joined = torch.cat([state, waveform], dim=1)
        frames = framed(joined, self.window, self.hop) * self.taper
        return self.fourier(frames), joined[:, -(self.window - self.hop) :]


class PlainISTFT(nn.Module):
    """`codecs.layers.stft.CausalISTFT` by products, from real and imaginary parts."""

    taper: Tensor

    def __init__(self, window: int, hop: int, taper: Tensor) -> None:
        super().__init__()
        self.hop = hop
        self.register_buffer("taper", taper.clone())
        self.fourier = InverseRealFourier(window)

    def step(self, real: Tensor, imag: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next samples, hop for each frame, and the overlap that is not finished."""
        return overlap_add(self.fourier(real, imag) * self.taper, state, self.hop)


def framed(x: Tensor, window: int, hop: int) -> Tensor:
    """Return the windows [batch, frames, window] of x [batch, (frames - 1) * hop + window], window a multiple of hop."""
    parts = window // hop
    blocks = x.reshape(x.shape[0], -1, hop)
    frames = blocks.shape[1] - parts + 1
    return torch.cat([blocks[:, part : part + frames] for part in range(parts)], dim=2)
