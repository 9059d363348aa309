"""Multi-resolution discriminator of magnitudes under a rectangular window.

Source: Jang et al., "UnivNet", 2021, in the form of Siuzdak, "Vocos", 2023, section 3.3; WavTokenizer trains with it too.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..losses.spectrum import spectrum
from .base import Judgement, Stack, conv2d

SHAPES = (((7, 5), (2, 2)), ((5, 3), (2, 1)), ((5, 3), (2, 2)), ((3, 3), (2, 1)), ((3, 3), (2, 2)))  # (kernel, stride)


class MultiResolution(nn.Module):
    """Judges magnitudes at several resolutions, of every channel by itself; the hop is a quarter of the window.

    Args:
        windows: samples, one part for each.
        width: channels of every layer.
    """

    def __init__(self, windows: Sequence[int] = (1024, 2048, 512), width: int = 64) -> None:
        super().__init__()
        self.windows = tuple(windows)
        self.parts = nn.ModuleList(_part(width) for _ in self.windows)

    def forward(self, waveform: Tensor) -> list[Judgement]:
        """Return score [batch * channels, 1, bands, frames] and maps [batch * channels, width, bands, frames] per window."""
        waveform = waveform.flatten(0, 1)
        judgements = []
        for window, part in zip(self.windows, self.parts, strict=True):
            taper = torch.ones(window, device=waveform.device)
            judgements.append(part(spectrum(waveform, window // 4, taper).abs()[:, None]))
        return judgements


def _part(width: int) -> Stack:
    layers, inside = [], 1
    for (high, wide), stride in SHAPES:
        layers.append(conv2d(inside, width, (high, wide), stride, padding=(high // 2, wide // 2)))
        inside = width
    return Stack(layers, conv2d(width, 1, 3, padding=1), 0.1, score_map=True)
