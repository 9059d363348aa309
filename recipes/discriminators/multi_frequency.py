"""Multi-frequency discriminator: mel magnitudes and their logarithms at six resolutions.

Source: Ye et al., "Codec Does Matter: Exploring the Semantic Shortcoming of Codec for Audio Language Model" (X-Codec), 2024,
whose code takes it over from AcademiCodec.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..losses.filters import mel_filters
from ..losses.spectrum import magnitude, spectrum
from .base import Judgement, Stack, conv2d

REFERENCE_DB, RANGE_DB = 20.0, 100.0  # logarithms run from 0 to 1 between -80 dB and 20 dB


class MultiFrequency(nn.Module):
    """Judges [mel magnitude, its level in dB] with as many mels as bins, of every channel by itself.

    Args:
        sample_rate: Hz.
        hops: samples; the Hann window is four times as long. One part for each.
        widths: channels of each part's widest layer, the others being halves of it, down to a 32nd.
    """

    def __init__(
        self,
        sample_rate: int,
        hops: Sequence[int] = (32, 64, 128, 256, 512, 1024),
        widths: Sequence[int] = (64, 128, 256, 512, 512, 512),
    ) -> None:
        super().__init__()
        self.hops = tuple(hops)
        self.parts = nn.ModuleList(_part(width) for _, width in zip(hops, widths, strict=True))
        for hop in self.hops:
            self.register_buffer(f"taper_{hop}", torch.hann_window(4 * hop) / (4 * hop) ** 0.5, persistent=False)
            # narrow triangles fall between the bins; the floor is the published code's, and keeps their rows from being zero
            filters = mel_filters(2 * hop + 1, 4 * hop, sample_rate).clamp(min=1e-6)
            self.register_buffer(f"filters_{hop}", filters, persistent=False)

    def forward(self, waveform: Tensor) -> list[Judgement]:
        """Return score [batch * channels, 1, bands, frames] and maps [batch * channels, width, bands, frames] per hop."""
        waveform = waveform.flatten(0, 1)
        return [part(self._image(waveform, hop)) for hop, part in zip(self.hops, self.parts, strict=True)]

    def _image(self, waveform: Tensor, hop: int) -> Tensor:
        if (missing := 8 * hop - waveform.shape[-1]) > 0:  # three layers halve the frames, and reflection needs two at the end
            waveform = F.pad(waveform, (0, missing))
        bins = magnitude(spectrum(waveform, hop, getattr(self, f"taper_{hop}")), 1e-7)
        with torch.autocast(waveform.device.type, enabled=False):
            mels = (bins.transpose(1, 2) @ getattr(self, f"filters_{hop}")).transpose(1, 2)
            return torch.stack([mels, ((20 * mels.log10() - REFERENCE_DB) / RANGE_DB + 1).clamp(0, 1)], dim=1)


def _part(width: int) -> Stack:
    layers, inside = [], 2
    for index in range(6):
        outside = width // 2 ** (5 - index)
        layers.append(conv2d(inside, outside, 3, 1 + index % 2, padding=1, padding_mode="reflect"))
        inside = outside
    return Stack(layers, conv2d(inside, 1, 3, padding=1, padding_mode="reflect"), 0.2)
