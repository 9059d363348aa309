"""The encoder of a variational autoencoder of spectrograms: log-mel to where its latents lie, and how surely.

Only training a diffusion model of the latents needs it. Sources: as `VAEDecoder`'s; the mel spectrogram is HiFi-GAN's, as
AudioLDM's code has it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .image import ResidualBlock, norm
from .vae import PointAttention, VAEConfig

LEAST, MOST = -30.0, 20.0  # of the logarithm of a variance


@dataclass(frozen=True)
class Posterior:
    """Normal distributions of latents [batch, latents, steps, bands]: their means, and the logarithms of their variances."""

    mean: Tensor
    log_variance: Tensor

    def sample(self) -> Tensor:
        """Draw latents."""
        return self.mean + (0.5 * self.log_variance).exp() * torch.randn_like(self.mean)


class Downsample(nn.Module):
    """A convolution that halves height and width, with the edge it lacks on the far sides alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, channels, height / 2, width / 2]."""
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class VAEEncoder(nn.Module):
    """A spectrogram [batch, ratio * steps, ratio * bands] to the `Posterior` of its latents [batch, latents, steps, bands].

    A level has one residual block less than the decoder's, as published.
    """

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config, self.blocks = config, max(1, config.blocks - 1)
        widths = [config.width * multiple for multiple in config.multiples]
        width = widths[0]
        self.enter = nn.Conv2d(1, width, 3, padding=1)
        self.levels = nn.ModuleList()
        for level, wide in enumerate(widths):
            blocks = [ResidualBlock(wide if number else width, wide) for number in range(self.blocks)]
            self.levels.append(nn.Sequential(*blocks, *([Downsample(wide)] if level < len(widths) - 1 else [])))
            width = wide
        self.middle = nn.Sequential(ResidualBlock(width, width), PointAttention(width), ResidualBlock(width, width))
        self.leave = nn.Sequential(norm(width), nn.SiLU(), nn.Conv2d(width, 2 * config.latents, 3, padding=1))
        self.spread = nn.Conv2d(2 * config.latents, 2 * config.latents, 1)

    def forward(self, mel: Tensor) -> Posterior:
        """Return the distributions of the latents."""
        x = self.enter(mel[:, None])
        for level in self.levels:
            x = level(x)
        mean, log_variance = self.spread(self.leave(self.middle(x))).chunk(2, dim=1)
        return Posterior(mean, log_variance.clamp(LEAST, MOST))
