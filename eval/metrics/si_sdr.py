"""Scale-invariant signal-to-distortion ratio, in dB, higher is better.

Source: Le Roux et al., "SDR - half-baked or well done?", 2019, equation 5; means are removed first.
"""

from torch import Tensor

from . import Metric, check_audible, check_same_shape


def si_sdr(estimate: Tensor, target: Tensor) -> Tensor:
    """Return SI-SDR in dB, one per item, of estimate and target [..., time] at any one rate.

    A perfect estimate gives +inf and one orthogonal to the target gives -inf.

    Raises:
        ShapeError: if the shapes differ.
        AudioError: if a target is silent, for which the ratio is undefined.
    """
    check_same_shape(estimate, target)
    estimate = estimate - estimate.mean(-1, keepdim=True)
    target = target - target.mean(-1, keepdim=True)
    energy = target.square().sum(-1, keepdim=True)
    check_audible(energy, "SI-SDR")
    projection = (estimate * target).sum(-1, keepdim=True) / energy * target
    return 10 * (projection.square().sum(-1) / (estimate - projection).square().sum(-1)).log10()


def _compute(estimate: Tensor, target: Tensor, sample_rate: int) -> float:
    return si_sdr(estimate, target).item()


METRICS = (Metric(name="si_sdr", label="SI-SDR", unit="dB", better="higher", group="waveform", compute=_compute),)
