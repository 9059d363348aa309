"""Lapped transform of the low band, learned from a cosine basis: the straight line from waveform to latents and back.

A network that starts from nothing takes very long to find the phase of speech; this path has it from the first step.
Source of the basis: Princen, Johnson and Bradley, "Subband/Transform coding using filter bank designs based on time
domain aliasing cancellation", 1987.
"""

import math

import torch
from torch import Tensor, nn

from .stft import overlap_add


def cosine_basis(hop: int, dim: int) -> Tensor:
    """Return the first `dim` functions [dim, 2 * hop] of the orthonormal lapped cosine basis under a sine window."""
    n = torch.arange(2 * hop, dtype=torch.float64)
    k = torch.arange(dim, dtype=torch.float64)[:, None]
    taper = (math.pi * (n + 0.5) / (2 * hop)).sin()
    return (math.sqrt(2 / hop) * taper * (math.pi / hop * (n + 0.5 + hop / 2) * (k + 0.5)).cos()).to(torch.get_default_dtype())


class LappedAnalysis(nn.Module):
    """Shape of each window of 2 * hop samples: [batch, hop * frames] to [batch, frames, dim], level divided out.

    State: the last `hop` samples, zeros before the first.
    """

    def __init__(self, hop: int, dim: int) -> None:
        super().__init__()
        self.hop = hop
        self.basis = nn.Parameter(cosine_basis(hop, dim))

    def initial_state(self, batch: int) -> Tensor:
        """Return the silence before the first sample."""
        return self.basis.new_zeros(batch, self.hop)

    def step(self, waveform: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Transform the next samples, a multiple of `hop`."""
        joined = torch.cat([state, waveform], dim=-1)
        frames = joined.unfold(-1, 2 * self.hop, self.hop)
        energy = frames.square().sum(-1, keepdim=True)
        # a window at the level of 16-bit rounding counts as silence, and gives small shapes instead of amplified noise
        return (frames / (energy + 2 * self.hop * 1e-8).sqrt()) @ self.basis.T, joined[:, waveform.shape[-1] :]


class LappedSynthesis(nn.Module):
    """Overlap-add of coefficients [batch, frames, dim] to waveform [batch, hop * frames], `delay` samples late.

    State: the unfinished overlap and the last `delay` samples, joined: [batch, hop + delay].
    """

    def __init__(self, hop: int, dim: int, delay: int) -> None:
        super().__init__()
        self.hop, self.delay = hop, delay
        self.basis = nn.Parameter(cosine_basis(hop, dim))

    def initial_state(self, batch: int) -> Tensor:
        """Return the silence before the first frame."""
        return self.basis.new_zeros(batch, self.delay + self.hop)

    def step(self, coefficients: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next samples, `hop` for each frame."""
        samples = coefficients.shape[1] * self.hop
        sound, overlap = overlap_add(coefficients @ self.basis, state[:, self.delay :], self.hop)
        joined = torch.cat([state[:, : self.delay], sound], dim=1)
        return joined[:, :samples], torch.cat([joined[:, samples:], overlap], dim=1)
