"""Mel filters of losses: those of `toneme.eval.spectra`, and triangles of equal area on HTK's scale."""

import math

import torch
from torch import Tensor

from ...eval.spectra import htk_mels


def mel_filters(mels: int, n_fft: int, sample_rate: int, lowest: float = 0.0, equal_area: bool = False) -> Tensor:
    """Return filters [n_fft // 2 + 1, mels] on HTK's mel scale, from `lowest` Hz to the Nyquist rate.

    Their peaks are at 1, or with `equal_area` each is divided by half its width in Hz (torchaudio's `norm="slaney"`).
    """
    filters = htk_mels(mels, n_fft, sample_rate, lowest)
    if not equal_area:
        return filters
    bottom, top = (2595 * math.log10(1 + hertz / 700) for hertz in (lowest, sample_rate / 2))
    edges = 700 * (10 ** (torch.linspace(bottom, top, mels + 2) / 2595) - 1)
    return filters * 2 / (edges[2:] - edges[:-2])
