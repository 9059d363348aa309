"""AudioMAE's encoder: a vision transformer that sees a log-mel spectrogram as patches.

Sources: Huang et al., "Masked Autoencoders that Listen", 2022; Dosovitskiy et al., "An Image is Worth 16x16 Words", 2020; the
average over the last blocks: Liu et al., "AudioLDM 2", 2023, section III-B.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import CheckpointError, ShapeError


@dataclass(frozen=True)
class AudioMAEConfig:
    """The sizes.

    Attributes:
        width: channels.
        layers: blocks.
        heads: that share the width.
        hidden: width inside the perceptrons.
        patch: frames, and mel bins, of one patch.
        grid: patches of a spectrogram in time and in frequency.
        averaged: how many of the last blocks the features are the average of.
    """

    width: int = 768
    layers: int = 12
    heads: int = 12
    hidden: int = 3072
    patch: int = 16
    grid: tuple[int, int] = (64, 8)
    averaged: int = 3

    def __post_init__(self) -> None:
        if self.width % self.heads or not 1 <= self.averaged <= self.layers:
            raise CheckpointError(
                f"heads must divide the width and averaged blocks be among the layers; got {self.width}, {self.heads}, "
                f"{self.averaged} of {self.layers}"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Frames and mel bins of a spectrogram."""
        return self.grid[0] * self.patch, self.grid[1] * self.patch


class AudioMAEBlock(nn.Module):
    """Attention among all patches and a perceptron, each behind a norm and inside a residual."""

    def __init__(self, config: AudioMAEConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.norm1 = nn.LayerNorm(config.width, eps=1e-6)
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.norm2 = nn.LayerNorm(config.width, eps=1e-6)
        self.widen = nn.Linear(config.width, config.hidden)
        self.narrow = nn.Linear(config.hidden, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output for x [batch, patches, width]."""
        query, key, value = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))
        return x + self.narrow(F.gelu(self.widen(self.norm2(x))))


class AudioMAE(nn.Module):
    """A spectrogram to one feature vector per patch."""

    def __init__(self, config: AudioMAEConfig) -> None:
        super().__init__()
        self.config = config
        patches = config.grid[0] * config.grid[1]
        self.embed = nn.Conv2d(1, config.width, config.patch, config.patch)
        self.first = nn.Parameter(torch.zeros(1, 1, config.width))  # stands before the patches, and for none of them
        self.positions = nn.Parameter(torch.randn(1, 1 + patches, config.width) * 0.02)
        self.blocks = nn.ModuleList(AudioMAEBlock(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width, eps=1e-6)

    def forward(self, mel: Tensor) -> Tensor:
        """Return features [batch, patches in time, patches in frequency, width] of mel [batch, frames, bins].

        Raises:
            ShapeError: if the spectrogram is not of the configured shape.
        """
        if tuple(mel.shape[1:]) != self.config.shape:
            raise ShapeError(f"AudioMAE takes spectrograms [batch, {self.config.shape}]; got {list(mel.shape)}")
        patches = self.embed(mel[:, None]).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(len(mel), -1, -1), patches], dim=1) + self.positions
        last = []
        for number, block in enumerate(self.blocks, 1):
            x = block(x)
            if number > self.config.layers - self.config.averaged:
                last.append(self.norm(x))
        return torch.stack(last).mean(0)[:, 1:].unflatten(1, self.config.grid)
