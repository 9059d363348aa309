"""Multi-scale STFT discriminator: complex spectra at several resolutions.

Source: Défossez et al., "High Fidelity Neural Audio Compression", 2022, section 3.4 and figure 2.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..losses.spectrum import spectrum
from .base import Judgement, Stack, spectral_conv2d
from .convolution import SpectralConv2d


class MultiScaleSTFT(nn.Module):
    """Judges real and imaginary parts of waveform [batch, channels, samples], hop a quarter of the window.

    Args:
        windows: samples of the Hann windows, one part for each; the paper's five, of which the `encodec` package has
            (1024, 2048, 512).
        width: channels of every layer.
        channels: of the waveform.
        slope: of the leaky ReLU below zero: 0.2, or 0.3 in audiocraft's recipes.
    """

    def __init__(
        self, windows: Sequence[int] = (2048, 1024, 512, 256, 128), width: int = 32, channels: int = 1, slope: float = 0.2
    ) -> None:
        super().__init__()
        self.windows = tuple(windows)
        self.parts = nn.ModuleList(_part(width, channels, slope) for _ in self.windows)
        for window in self.windows:
            taper = torch.hann_window(window)
            self.register_buffer(f"taper_{window}", taper / taper.square().sum().sqrt(), persistent=False)

    def forward(self, waveform: Tensor) -> list[Judgement]:
        """Return score [batch, 1, frames, bands] and maps [batch, width, frames, bands] of each window."""
        judgements = []
        for window, part in zip(self.windows, self.parts, strict=True):
            bins = spectrum(waveform, window // 4, getattr(self, f"taper_{window}"), center=False)
            judgements.append(part(torch.cat([bins.real, bins.imag], dim=1).transpose(2, 3)))
        return judgements


def _part(width: int, channels: int, slope: float) -> Stack:
    layers: list[nn.Module] = [SpectralConv2d(2 * channels, width, (3, 9))]  # alone without weight norm, as published
    layers += [spectral_conv2d(width, width, (3, 9), 2, dilation) for dilation in (1, 2, 4)]
    layers.append(spectral_conv2d(width, width, (3, 3)))
    return Stack(layers, spectral_conv2d(width, 1, (3, 3)), slope)
