"""Spectra and mel filters that several metrics share."""

import math
from functools import lru_cache

import torch
from torch import Tensor

from ..codecs.errors import AudioError


def magnitudes(waveform: Tensor, window: int) -> Tensor:
    """Return magnitudes [batch, frames, window // 2 + 1] of a waveform [batch, time]: Hann window, hop a quarter, centred.

    Both ends are mirrored, so `time` must be more than half a window.

    Raises:
        AudioError: if it is not.
    """
    check_longer(waveform, window // 2)
    taper = torch.hann_window(window, device=waveform.device)
    return torch.stft(waveform, window, window // 4, window=taper, center=True, return_complex=True).abs().transpose(1, 2)


def check_longer(waveform: Tensor, than: int) -> None:
    """Raise AudioError unless a waveform [..., time] has more than so many samples, which are mirrored at its ends."""
    if waveform.shape[-1] <= than:
        raise AudioError(f"a spectrum needs more than {than} samples of audio; got {waveform.shape[-1]}: take longer clips")


def mel_magnitudes(waveform: Tensor, window: int, mels: int, sample_rate: int) -> Tensor:
    """Return Slaney mel magnitudes [batch, frames, mels] of a waveform [batch, time]."""
    return magnitudes(waveform, window) @ slaney_mels(mels, window, sample_rate).to(waveform.device)


@lru_cache(maxsize=32)
def slaney_mels(mels: int, n_fft: int, sample_rate: int) -> Tensor:
    """Return filters [n_fft // 2 + 1, mels] of equal area from 0 Hz to the Nyquist rate, linear below 1 kHz.

    Source: Slaney, "Auditory Toolbox", 1998.
    """
    top = 15 + 27 * math.log(sample_rate / 2 / 1000) / math.log(6.4) if sample_rate > 2000 else sample_rate * 0.0075
    points = torch.linspace(0, top, mels + 2, dtype=torch.float64)
    edges = torch.where(points < 15, points * 200 / 3, 1000 * torch.exp((points - 15) * math.log(6.4) / 27))
    return (_triangles(edges, n_fft, sample_rate) * 2 / (edges[2:] - edges[:-2])).float()


@lru_cache(maxsize=32)
def htk_mels(mels: int, n_fft: int, sample_rate: int, lowest: float = 0.0) -> Tensor:
    """Return filters [n_fft // 2 + 1, mels] with peaks at 1 from `lowest` Hz to the Nyquist rate on HTK's mel scale."""
    low, top = (2595 * math.log10(1 + hertz / 700) for hertz in (lowest, sample_rate / 2))
    edges = 700 * (10 ** (torch.linspace(low, top, mels + 2, dtype=torch.float64) / 2595) - 1)
    return _triangles(edges, n_fft, sample_rate).float()


def _triangles(edges: Tensor, n_fft: int, sample_rate: int) -> Tensor:
    bins = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1, dtype=torch.float64)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return rising.minimum(falling).clamp(min=0)
