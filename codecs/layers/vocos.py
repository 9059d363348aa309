"""Vocos with attention in front: frames to spectra to audio, as WavTokenizer has it; nothing is causal.

    backbone: conv, (two residual blocks, attention, two residual blocks, group norm), norm, ConvNeXt blocks, norm
    head: linear to log magnitude and phase, inverse Fourier transform, overlap-add

Everything works on [batch, frames, channels] except where a convolution wants the frames last.

Sources: Siuzdak, "Vocos", 2023; Ji et al., "WavTokenizer", 2024, section 3.3, and its published code.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import CheckpointError
from .stft import overlap_add

LOUDEST = 100.0  # magnitudes are cut off here


@dataclass(frozen=True)
class VocosConfig:
    """The sizes.

    Attributes:
        inputs: channels of the latents.
        width: of the backbone.
        hidden: width inside the ConvNeXt blocks.
        layers: ConvNeXt blocks.
        groups: of the norms around the attention.
        window: of the inverse Fourier transform, samples; a multiple of `hop`.
        hop: samples per frame.
    """

    inputs: int = 512
    width: int = 768
    hidden: int = 2304
    layers: int = 12
    groups: int = 32
    window: int = 1280
    hop: int = 320

    def __post_init__(self) -> None:
        if self.window % self.hop or (self.window - self.hop) % 2 or self.width % self.groups:
            raise CheckpointError(
                f"Vocos needs a window of whole hops and a width of whole groups; got {self.window} and {self.hop}, "
                f"{self.width} and {self.groups}"
            )


class GroupResidual(nn.Module):
    """x plus two convolutions of it, each behind a group norm and a sigmoid gate. x is [batch, channels, frames]."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, width, eps=1e-6)
        self.conv1 = nn.Conv1d(width, width, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, width, eps=1e-6)
        self.conv2 = nn.Conv1d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        return x + self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))


class GlobalAttention(nn.Module):
    """x plus attention of one head over all frames. x is [batch, channels, frames]."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, width, eps=1e-6)
        self.q, self.k, self.v, self.out = (nn.Conv1d(width, width, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        y = self.norm(x)
        q, k, v = (part(y).transpose(1, 2).unsqueeze(1) for part in (self.q, self.k, self.v))
        return x + self.out(F.scaled_dot_product_attention(q, k, v).squeeze(1).transpose(1, 2))


class ConvNeXt(nn.Module):
    """Depthwise convolution over neighbours, then a perceptron per frame, inside one residual. x is [batch, frames, width]."""

    def __init__(self, width: int, hidden: int, scale: float) -> None:
        super().__init__()
        self.mix = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.widen = nn.Linear(width, hidden)
        self.narrow = nn.Linear(hidden, width)
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        y = self.norm(self.mix(x.transpose(1, 2)).transpose(1, 2))
        return torch.addcmul(x, self.scale, self.narrow(F.gelu(self.widen(y))))


class VocosBackbone(nn.Module):
    """Latents [batch, inputs, frames] to features [batch, frames, width]."""

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        width, groups = config.width, config.groups
        self.enter = nn.Conv1d(config.inputs, width, 7, padding=3)
        self.before = nn.Sequential(GroupResidual(width, groups), GroupResidual(width, groups))
        self.attention = GlobalAttention(width, groups)
        self.after = nn.Sequential(GroupResidual(width, groups), GroupResidual(width, groups))
        self.group_norm = nn.GroupNorm(groups, width, eps=1e-6)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        blocks = (ConvNeXt(width, config.hidden, 1 / config.layers) for _ in range(config.layers))
        self.blocks = cast("Iterable[ConvNeXt]", nn.ModuleList(blocks))
        self.last_norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, latents: Tensor) -> Tensor:
        """Return the features of all frames."""
        x = self.group_norm(self.after(self.attention(self.before(self.enter(latents)))))
        x = self.norm(x.transpose(1, 2))
        for block in self.blocks:
            x = block(x)
        return self.last_norm(x)


class FourierHead(nn.Module):
    """Features [batch, frames, width] to audio [batch, 1, frames * hop].

    Frame n is the window centred on its own hop; what reaches beyond the first and the last is cut off.
    """

    taper: Tensor

    def __init__(self, width: int, window: int, hop: int) -> None:
        super().__init__()
        self.window, self.hop = window, hop
        self.out = nn.Linear(width, window + 2)
        self.register_buffer("taper", torch.hann_window(window), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return the audio of all frames."""
        magnitude, phase = self.out(features).float().chunk(2, dim=-1)  # there are no complex numbers of half precision
        spectrum = torch.polar(magnitude.exp().clamp(max=LOUDEST), phase)
        sound = self._lay(torch.fft.irfft(spectrum, n=self.window) * self.taper)
        weight = self._lay(self.taper.square().expand(1, features.shape[1], -1))
        return (sound / weight).unsqueeze(1)

    def _lay(self, pieces: Tensor) -> Tensor:
        """Return windows [batch, frames, window] added up, [batch, frames * hop]."""
        overlap = self.window - self.hop
        start, end = overlap_add(pieces, pieces.new_zeros(pieces.shape[0], overlap), self.hop)
        return torch.cat([start, end], dim=-1)[:, overlap // 2 : overlap // 2 + start.shape[-1]]
