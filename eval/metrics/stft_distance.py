"""Multi-scale STFT distance of DAC, no unit (mean absolute differences of magnitudes and their logs, added), lower is better.

Source: Kumar et al., "High-Fidelity Audio Compression with Improved RVQGAN", 2023, section 4.2, after Engel et al., "DDSP",
2020: windows of 2048 and 512 samples, hop a quarter, magnitudes, log10 of their squares from 1e-5 up.
"""

from torch import Tensor

from ..spectra import magnitudes
from . import Metric, check_same_shape
from .mel_distance import log_difference

WINDOWS = (2048, 512)


def stft_distance(estimate: Tensor, target: Tensor) -> Tensor:
    """Return the distance of estimate and target [batch, time], one per item.

    Raises:
        ShapeError: if the shapes differ.
    """
    check_same_shape(estimate, target)
    total = estimate.new_zeros(estimate.shape[0])
    for window in WINDOWS:
        ours, theirs = (magnitudes(x, window) for x in (estimate, target))
        total += (ours - theirs).abs().mean((1, 2)) + 2 * log_difference(ours, theirs)
    return total


def _compute(estimate: Tensor, target: Tensor, sample_rate: int) -> float:
    return stft_distance(estimate[None], target[None]).item()


METRICS = (Metric(name="stft_distance", label="STFT distance", unit="", better="lower", group="spectrum", compute=_compute),)
