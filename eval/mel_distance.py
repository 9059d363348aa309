"""Multi-scale mel distance, no unit (sum over scales of the mean absolute difference of log10 mels), lower is better.

Source: Kumar et al., "High-Fidelity Audio Compression with Improved RVQGAN", 2023, section 3.3, with the scales that its
code evaluates with: windows of 2048 and 512 samples, hop a quarter, 150 and 80 Slaney mels, magnitudes and their logs.
"""

import math

import torch
from torch import Tensor

from ..codecs.errors import ShapeError

SCALES = ((2048, 150), (512, 80))  # (window in samples, mels)


def slaney_mels(mels: int, n_fft: int, sample_rate: int) -> Tensor:
    """Return filters [n_fft // 2 + 1, mels] of equal area from 0 Hz to the Nyquist rate, linear below 1 kHz.

    Source: Slaney, "Auditory Toolbox", 1998.
    """
    top = 15 + 27 * math.log(sample_rate / 2 / 1000) / math.log(6.4) if sample_rate > 2000 else sample_rate * 0.0075
    points = torch.linspace(0, top, mels + 2, dtype=torch.float64)
    edges = torch.where(points < 15, points * 200 / 3, 1000 * torch.exp((points - 15) * math.log(6.4) / 27))
    bins = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1, dtype=torch.float64)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return (rising.minimum(falling).clamp(min=0) * 2 / (edges[2:] - edges[:-2])).float()


def mel_distance(estimate: Tensor, target: Tensor, sample_rate: int) -> Tensor:
    """Return the distance of estimate and target [batch, time] at `sample_rate` Hz, one per item.

    Raises:
        ShapeError: if the shapes differ.
    """
    if estimate.shape != target.shape:
        raise ShapeError(f"estimate {list(estimate.shape)} and target {list(target.shape)} must have one shape: cut them first")
    total = estimate.new_zeros(estimate.shape[0])
    for window, mels in SCALES:
        ours, theirs = (_mel(x, window, mels, sample_rate) for x in (estimate, target))
        total += (ours - theirs).abs().mean((1, 2))
        total += (ours.clamp(min=1e-5).log10() - theirs.clamp(min=1e-5).log10()).abs().mean((1, 2))
    return total


def _mel(waveform: Tensor, window: int, mels: int, sample_rate: int) -> Tensor:
    taper = torch.hann_window(window, device=waveform.device)
    spectrum = torch.stft(waveform, window, window // 4, window=taper, center=True, return_complex=True).abs()
    return spectrum.transpose(1, 2) @ slaney_mels(mels, window, sample_rate).to(waveform.device)
