"""Discriminator of magnitude spectrograms, strided in time and frequency.

Source: Xin et al., "BigCodec", 2024; X-Codec-2 uses it with eight windows of other lengths.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..losses.spectrum import magnitude, spectrum
from .base import Judgement, Stack, conv2d


class MultiSpectrogram(nn.Module):
    """Judges magnitudes at several resolutions, of every channel by itself.

    Args:
        windows: samples of the Hann windows, one part for each.
        hops: samples; a quarter of each window unless given.
        width: channels of the first layer; each further one has twice as many, `widest` at most.
        widest: channels.
    """

    def __init__(
        self,
        windows: Sequence[int] = (128, 256, 512, 1024, 2048),
        hops: Sequence[int] | None = None,
        width: int = 32,
        widest: int = 512,
    ) -> None:
        super().__init__()
        self.windows = tuple(windows)
        self.hops = tuple(hops or (window // 4 for window in windows))
        self.parts = nn.ModuleList(_part(width, widest) for _ in self.windows)
        for window in self.windows:
            self.register_buffer(f"taper_{window}", torch.hann_window(window), persistent=False)

    def forward(self, waveform: Tensor) -> list[Judgement]:
        """Return score [batch * channels, 1, bands, frames] and maps [batch * channels, width, bands, frames] per window."""
        waveform = waveform.flatten(0, 1)
        judgements = []
        for window, hop, part in zip(self.windows, self.hops, self.parts, strict=True):
            bins = spectrum(waveform, hop, getattr(self, f"taper_{window}"))
            judgements.append(part(magnitude(bins, 1e-7, 1e3)[:, None]))
        return judgements


def _part(width: int, widest: int) -> Stack:
    layers, inside = [], 1
    for index in range(4):
        outside = min(width * 2**index, widest)
        layers.append(conv2d(inside, outside, 5, 2, padding=2))
        inside = outside
    outside = min(2 * inside, widest)
    layers.append(conv2d(inside, outside, 3, padding=1))
    return Stack(layers, conv2d(outside, 1, 3, padding=1), 0.2)
