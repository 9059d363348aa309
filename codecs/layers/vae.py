"""The decoder of a variational autoencoder of spectrograms: latents to log-mel.

Sources: Kingma and Welling, "Auto-Encoding Variational Bayes", 2013; Rombach et al., "High-Resolution Image Synthesis with
Latent Diffusion Models", 2022, appendix G; Liu et al., "AudioLDM", 2023.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from .image import ResidualBlock, Upsample, norm


@dataclass(frozen=True)
class VAEConfig:
    """The sizes.

    Attributes:
        latents: channels of the latents.
        width: channels of the finest level.
        multiples: of that width, one per level, finest first; each level has half the height and width of the one before.
        blocks: residual blocks of a level.
    """

    latents: int = 8
    width: int = 128
    multiples: tuple[int, ...] = (1, 2, 4)
    blocks: int = 3

    @property
    def ratio(self) -> int:
        """Frames, and mel bins, per step of the latents."""
        return 1 << (len(self.multiples) - 1)


class PointAttention(nn.Module):
    """x plus attention with one head among all of its points."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.query = nn.Conv2d(channels, channels, 1)
        self.key = nn.Conv2d(channels, channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output for an image x."""
        own = self.norm(x)
        query, key, value = (layer(own).flatten(2).transpose(1, 2) for layer in (self.query, self.key, self.value))
        found = F.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None])[:, 0]
        return x + self.out(found.transpose(1, 2).unflatten(2, x.shape[2:]))


class VAEDecoder(nn.Module):
    """Latents [batch, latents, steps, bands] to a spectrogram [batch, ratio * steps, ratio * bands]."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * multiple for multiple in reversed(config.multiples)]
        width = widths[0]
        self.enter = nn.Sequential(nn.Conv2d(config.latents, config.latents, 1), nn.Conv2d(config.latents, width, 3, padding=1))
        self.middle = nn.Sequential(ResidualBlock(width, width), PointAttention(width), ResidualBlock(width, width))
        self.levels = nn.ModuleList()
        for level, wide in enumerate(widths):
            blocks = [ResidualBlock(wide if number else width, wide) for number in range(config.blocks)]
            self.levels.append(nn.Sequential(*blocks, *([Upsample(wide)] if level < len(widths) - 1 else [])))
            width = wide
        self.leave = nn.Sequential(norm(width), nn.SiLU(), nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, latents: Tensor) -> Tensor:
        """Return the spectrogram."""
        x = self.middle(self.enter(latents))
        for level in self.levels:
            x = level(x)
        return self.leave(x)[:, 0]
