"""Multi-scale mel distance of EnCodec, no unit (mean of errors of mel powers and their logs), lower is better.

Source: Defossez et al., "High Fidelity Neural Audio Compression", 2022, section 3.4, with what Audiocraft trains with:
windows of 2^6 to 2^10 samples, hop a quarter, normalised, 64 HTK mels of power from 64 Hz up; the mean absolute error of the
powers and the mean squared error of log10(1e-5 + power), averaged over both and all windows.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ..spectra import check_longer, htk_mels
from . import Metric, check_same_shape

WINDOWS = (64, 128, 256, 512, 1024)
MELS, LOWEST, FLOOR = 64, 64.0, 1e-5


def encodec_mel(estimate: Tensor, target: Tensor, sample_rate: int) -> Tensor:
    """Return the distance of estimate and target [batch, time] at `sample_rate` Hz, one per item.

    Raises:
        AudioError: if they are shorter than what is mirrored at their ends.
        ShapeError: if the shapes differ.
    """
    check_same_shape(estimate, target)
    total = estimate.new_zeros(estimate.shape[0])
    for window in WINDOWS:
        ours, theirs = (mel_powers(x, window, sample_rate) for x in (estimate, target))
        logs = (ours + FLOOR).log10() - (theirs + FLOOR).log10()
        total += (ours - theirs).abs().mean((1, 2)) + logs.square().mean((1, 2))
    return total / (2 * len(WINDOWS))


def mel_powers(waveform: Tensor, window: int, sample_rate: int) -> Tensor:
    """Return mel powers [batch, ceil(time / hop), mels] of a waveform [batch, time]."""
    hop = window // 4
    check_longer(waveform, (window - hop) // 2)
    taper = torch.hann_window(window, device=waveform.device)
    padded = F.pad(waveform[:, None], ((window - hop) // 2,) * 2, mode="reflect")[:, 0]
    padded = F.pad(padded, (0, -(padded.shape[-1] - window) % hop))
    spectrum = torch.stft(padded, window, hop, window=taper, center=False, return_complex=True)
    power = spectrum.abs().square().transpose(1, 2) / taper.square().sum()
    return power @ htk_mels(MELS, window, sample_rate, LOWEST).to(waveform.device)


def _compute(estimate: Tensor, target: Tensor, sample_rate: int) -> float:
    return encodec_mel(estimate[None], target[None], sample_rate).item()


METRICS = (
    Metric(name="mel_encodec", label="mel distance (EnCodec)", unit="", better="lower", group="spectrum", compute=_compute),
)
