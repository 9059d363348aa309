"""Log-spectral distance, in dB, lower is better.

Source: Gray and Markel, "Distance measures for speech processing", 1976: per frame the root of the mean over frequency of the
squared difference of power spectra in dB, then the mean over frames. Frames of 2048 samples, hop 512, Hann window; powers are
floored 100 dB below that of a full-scale sine, so that digital silence does not decide.
"""

from torch import Tensor

from ..spectra import magnitudes
from . import Metric, check_same_shape

WINDOW = 2048
FLOOR = 1e-5 * WINDOW / 4  # magnitude of a full-scale sine under a Hann window is a quarter of the window


def log_spectral(estimate: Tensor, target: Tensor) -> Tensor:
    """Return the distance in dB of estimate and target [batch, time], one per item.

    Raises:
        ShapeError: if the shapes differ.
    """
    check_same_shape(estimate, target)
    ours, theirs = (20 * magnitudes(x, WINDOW).clamp(min=FLOOR).log10() for x in (estimate, target))
    return (ours - theirs).square().mean(2).sqrt().mean(1)


def _compute(estimate: Tensor, target: Tensor, sample_rate: int) -> float:
    return log_spectral(estimate[None], target[None]).item()


METRICS = (
    Metric(name="log_spectral", label="log-spectral distance", unit="dB", better="lower", group="spectrum", compute=_compute),
)
