"""HiFi-GAN's generator: a spectrogram to a waveform, upsampled in stages of residual blocks with several kernels.

Source: Kong et al., "HiFi-GAN: Generative Adversarial Networks for Efficient and High Fidelity Speech Synthesis", 2020.
"""

import math
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .conv import Conv1d

SLOPE = 0.1  # of the activations; the last one has torch's own
LAST_SLOPE = 0.01
EDGE = 7  # taps of the first and last convolution


@dataclass(frozen=True)
class HiFiGANConfig:
    """The sizes.

    Attributes:
        bins: of the spectrogram.
        width: channels at the spectrogram's rate, halved by every stage.
        rates: samples out per sample in of each stage.
        kernels: taps of each stage's transposed convolution.
        block_kernels: taps of the residual blocks that a stage is the average of.
        dilations: of each block's convolutions.
    """

    bins: int = 64
    width: int = 1024
    rates: tuple[int, ...] = (5, 4, 2, 2, 2)
    kernels: tuple[int, ...] = (16, 16, 8, 4, 4)
    block_kernels: tuple[int, ...] = (3, 7, 11)
    dilations: tuple[int, ...] = (1, 3, 5)

    @property
    def hop(self) -> int:
        """Samples per frame."""
        return math.prod(self.rates)

    @property
    def reach(self) -> int:
        """Frames on either side that can change a frame's samples."""
        block = (max(self.block_kernels) - 1) // 2 * (sum(self.dilations) + len(self.dilations))
        reach, rate = EDGE // 2, 1  # in frames, and samples per frame so far
        for stride, kernel in zip(self.rates, self.kernels, strict=True):
            rate *= stride
            reach += -(-kernel // rate) + -(-block // rate)
        return reach + 1


class HiFiGANBlock(nn.Module):
    """Pairs of convolutions behind leaky rectifiers, the first of each pair dilated, each pair inside a residual."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.dilated = nn.ModuleList(_conv(channels, channels, kernel, dilation) for dilation in dilations)
        self.plain = nn.ModuleList(_conv(channels, channels, kernel) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output for x [batch, channels, time]."""
        for dilated, plain in zip(self.dilated, self.plain, strict=True):
            x = x + plain(F.leaky_relu(dilated(F.leaky_relu(x, SLOPE)), SLOPE))
        return x


class HiFiGAN(nn.Module):
    """Log-mel [batch, bins, frames] to a waveform [batch, 1, hop * frames and a few samples].

    A stage whose kernel less its rate is odd gives one sample more than its share, as published.
    """

    def __init__(self, config: HiFiGANConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.enter = _conv(config.bins, width, EDGE)
        self.ups, self.blocks = nn.ModuleList(), nn.ModuleList()
        for rate, kernel in zip(config.rates, config.kernels, strict=True):
            self.ups.append(nn.ConvTranspose1d(width, width // 2, kernel, rate, (kernel - rate) // 2))
            width //= 2
            self.blocks.extend(HiFiGANBlock(width, taps, config.dilations) for taps in config.block_kernels)
        self.leave = _conv(width, 1, EDGE)

    def forward(self, mel: Tensor) -> Tensor:
        """Return the waveform."""
        x = self.enter(mel)
        blocks, each = iter(self.blocks), len(self.config.block_kernels)
        for up in self.ups:
            x = up(F.leaky_relu(x, SLOPE))
            x = torch.stack([block(x) for block in islice(blocks, each)]).mean(0)
        return self.leave(F.leaky_relu(x, LAST_SLOPE)).tanh()


def _conv(inputs: int, outputs: int, kernel: int, dilation: int = 1) -> Conv1d:
    return Conv1d(inputs, outputs, kernel, dilation=dilation, pad_mode="constant")
