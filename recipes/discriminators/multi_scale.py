"""Multi-scale discriminator: the waveform and its averages.

Source: Kumar et al., "MelGAN", 2019, in the form of Kong et al., "HiFi-GAN", 2020, section 2.3.
"""

import math

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from .base import Judgement, Stack, conv1d

LAYERS = (
    (128, 15, 1, 1),
    (128, 41, 2, 4),
    (256, 41, 2, 16),
    (512, 41, 4, 16),
    (1024, 41, 4, 16),
    (1024, 41, 1, 16),
    (1024, 5, 1, 1),
)


class MultiScale(nn.Module):
    """Judges waveform [batch, channels, samples], its average over pairs, over fours, and so on.

    Args:
        scales: how many; the first is spectrally normed, the others weight-normed.
        channels: of the waveform.
        divide: makes every layer that many times narrower; 1 is HiFi-GAN's.
    """

    def __init__(self, scales: int = 3, channels: int = 1, divide: int = 1) -> None:
        super().__init__()
        self.parts = nn.ModuleList()
        for scale in range(scales):
            conv = conv1d if scale else _spectral_conv1d
            layers, width = [], channels
            for wider, kernel, stride, groups in LAYERS:
                wider //= divide
                layers.append(conv(width, wider, kernel, stride, padding=kernel // 2, groups=math.gcd(groups, width, wider)))
                width = wider
            self.parts.append(Stack(layers, conv(width, 1, 3, padding=1), 0.1, score_map=True))

    def forward(self, waveform: Tensor) -> list[Judgement]:
        """Return score [batch, 1, frames] and maps [batch, width, frames] of each scale."""
        judgements = []
        for index, part in enumerate(self.parts):
            if index:
                waveform = F.avg_pool1d(waveform, 4, 2, padding=2)
            judgements.append(part(waveform))
        return judgements


def _spectral_conv1d(*args, **settings) -> nn.Module:
    return spectral_norm(nn.Conv1d(*args, **settings))
