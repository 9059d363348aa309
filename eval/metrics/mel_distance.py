"""Multi-scale mel distance of DAC, no unit (mean absolute differences of mels and their logs, added), lower is better.

Source: Kumar et al., "High-Fidelity Audio Compression with Improved RVQGAN", 2023, section 4.2, with what its code evaluates
with: windows of 2048 and 512 samples, hop a quarter, 150 and 80 Slaney mels of magnitudes, log10 of their squares from
1e-5 up. It depends on the sample rate: compare at one rate only.
"""

from torch import Tensor

from ..spectra import mel_magnitudes
from . import Metric, check_same_shape

SCALES = ((2048, 150), (512, 80))  # (window in samples, mels)
FLOOR = 1e-5


def mel_distance(estimate: Tensor, target: Tensor, sample_rate: int) -> Tensor:
    """Return the distance of estimate and target [batch, time] at `sample_rate` Hz, one per item.

    Raises:
        ShapeError: if the shapes differ.
    """
    check_same_shape(estimate, target)
    total = estimate.new_zeros(estimate.shape[0])
    for window, mels in SCALES:
        ours, theirs = (mel_magnitudes(x, window, mels, sample_rate) for x in (estimate, target))
        total += (ours - theirs).abs().mean((1, 2)) + 2 * log_difference(ours, theirs)
    return total


def log_difference(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return the mean absolute difference of log10 of magnitudes [batch, frames, bins] from 1e-5 up, one per item."""
    return (ours.clamp(min=FLOOR).log10() - theirs.clamp(min=FLOOR).log10()).abs().mean((1, 2))


def _compute(estimate: Tensor, target: Tensor, sample_rate: int) -> float:
    return mel_distance(estimate[None], target[None], sample_rate).item()


METRICS = (
    Metric(name="mel_distance", label="mel distance", unit="", better="lower", group="spectrum", version=2, compute=_compute),
)
