"""SnakeBeta at twice the rate, so that the harmonics it makes fold back less: BigCodec's activation.

Source: Lee et al., "BigVGAN: A Universal Neural Vocoder with Large-Scale Training", 2023, section 3.2.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...kernels.alias_free import TAPS, alias_free
from ...kernels.native import runs
from ...kernels.snake_rows import Bend
from . import rows


class AliasFreeSnakeBeta(nn.Module):
    """x + sin(a x)^2 / b at twice the rate, a and b per channel as logarithms; the ends of the signal are held."""

    reach = TAPS // 2  # samples beyond its own that an output sees

    taps: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))
        self.register_buffer("taps", low_pass(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the activation of x [batch, channels, time]."""
        batch, channels, time = x.shape
        if rows.usable(x) and time and runs(self.alpha, self.beta, self.taps):
            bend = Bend.of(self.alpha.exp(), self.beta.exp())
            return alias_free(x.transpose(1, 2).contiguous(), bend, self.taps).transpose(1, 2)
        taps = self.taps.to(x).view(1, 1, -1)
        flat = x.reshape(batch * channels, 1, time)
        double = 2 * F.conv_transpose1d(F.pad(flat, (5, 5), mode="replicate"), taps, stride=2)[..., 15:-15]
        double = double.view(batch, channels, 2 * time)
        alpha, beta = (part.exp().view(1, -1, 1) for part in (self.alpha, self.beta))
        double = double + (alpha * double).sin().square() / (beta + 1e-9)
        padded = F.pad(double.view(batch * channels, 1, -1), (5, 6), mode="replicate")
        return F.conv1d(padded, taps, stride=2).view(batch, channels, time)


def low_pass() -> Tensor:
    """Return 12 taps [12] of a Kaiser-windowed sinc that cuts at half the lower band edge, their sum 1."""
    width, cutoff = 4 * 0.3, 0.25
    attenuation = 2.285 * (TAPS // 2 - 1) * math.pi * width + 7.95
    beta = (
        0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21) if attenuation <= 50 else 0.1102 * (attenuation - 8.7)
    )
    time = torch.arange(-TAPS // 2, TAPS // 2, dtype=torch.float64) + 0.5
    taps = (
        2 * cutoff * torch.kaiser_window(TAPS, periodic=False, beta=beta, dtype=torch.float64) * torch.sinc(2 * cutoff * time)
    )
    return (taps / taps.sum()).float()
