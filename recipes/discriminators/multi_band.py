"""Multi-band, multi-resolution discriminator of complex spectra.

Source: Kumar et al., "High-Fidelity Audio Compression with Improved RVQGAN", 2023, section 3.4. Vocos' package uses it
with the switches below since its version 0.1.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..losses.spectrum import reflect, spectrum
from .base import Judgement, level, mono, spectral_conv2d

BANDS = ((0.0, 0.1), (0.1, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0))


class MultiBand(nn.Module):
    """Judges real and imaginary parts, each band by convolutions of its own, of every channel by itself.

    Args:
        windows: samples of the Hann windows, one part for each; the hop is a quarter.
        bands: (from, to) in shares of the Nyquist rate.
        width: channels of every layer.
        centered: frames centred at multiples of the hop (Vocos); otherwise frames lie as a convolution's would (DAC).
        first_map: the first layer's output is a feature map (not in Vocos).
        score_map: the score is a feature map (Vocos).
    """

    def __init__(
        self,
        windows: Sequence[int] = (2048, 1024, 512),
        bands: Sequence[Sequence[float]] = BANDS,
        width: int = 32,
        centered: bool = False,
        first_map: bool = True,
        score_map: bool = False,
    ) -> None:
        super().__init__()
        self.windows, self.centered = tuple(windows), centered
        self.parts = nn.ModuleList(_Bands(window // 2 + 1, bands, width, first_map, score_map) for window in self.windows)
        for window in self.windows:
            self.register_buffer(f"taper_{window}", torch.hann_window(window), persistent=False)

    def forward(self, waveform: Tensor) -> list[Judgement]:
        """Return score [batch * channels, 1, frames, columns] and maps [batch * channels, width, frames, ...] per window."""
        waveform = level(mono(waveform))[:, 0]
        return [part(self._image(waveform, window)) for window, part in zip(self.windows, self.parts, strict=True)]

    def _image(self, waveform: Tensor, window: int) -> Tensor:
        hop = window // 4
        if not self.centered:
            edge = (window - hop) // 2
            waveform = reflect(waveform, edge, edge + -waveform.shape[-1] % hop)
        bins = spectrum(waveform, hop, getattr(self, f"taper_{window}"), center=self.centered)
        return torch.view_as_real(bins).permute(0, 3, 2, 1)


class _Bands(nn.Module):
    """The convolutions of one resolution; x is [batch, 2, frames, bins]."""

    def __init__(self, bins: int, bands: Sequence[Sequence[float]], width: int, first_map: bool, score_map: bool) -> None:
        super().__init__()
        self.edges = [(int(low * bins), int(high * bins)) for low, high in bands]
        self.first_map, self.score_map = first_map, score_map
        self.stacks = nn.ModuleList(_layers(width) for _ in self.edges)
        self.last = spectral_conv2d(width, 1, (3, 3))

    def forward(self, x: Tensor) -> Judgement:
        maps, ends = [], []
        for (low, high), layers in zip(self.edges, self.stacks, strict=True):
            band = x[..., low:high]
            for index, layer in enumerate(layers):  # pyright: ignore[reportArgumentType]
                band = F.leaky_relu(layer(band), 0.1)
                if index or self.first_map:
                    maps.append(band)
            ends.append(band)
        score = self.last(torch.cat(ends, dim=-1))
        return score, [*maps, score] if self.score_map else maps


def _layers(width: int) -> nn.ModuleList:
    layers = [spectral_conv2d(2, width, (3, 9))]
    layers += [spectral_conv2d(width, width, (3, 9), 2) for _ in range(3)]
    return nn.ModuleList([*layers, spectral_conv2d(width, width, (3, 3))])
