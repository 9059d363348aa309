"""Scale-invariant signal-to-distortion ratio, in dB, higher is better.

Source: Le Roux et al., "SDR - half-baked or well done?", 2019, equation 5; means are removed first.
"""

from torch import Tensor

from ..codecs.errors import ShapeError


def si_sdr(estimate: Tensor, target: Tensor) -> Tensor:
    """Return SI-SDR in dB, one per item, of estimate and target [..., time] at any one rate.

    A perfect estimate gives +inf and one orthogonal to the target gives -inf.

    Raises:
        ShapeError: if the shapes differ or a target is silent, for which the ratio is undefined.
    """
    if estimate.shape != target.shape:
        raise ShapeError(f"estimate {list(estimate.shape)} and target {list(target.shape)} must have one shape: cut them first")
    estimate = estimate - estimate.mean(-1, keepdim=True)
    target = target - target.mean(-1, keepdim=True)
    energy = target.square().sum(-1, keepdim=True)
    if bool((energy == 0).any()):
        raise ShapeError("the target is silent, so SI-SDR is undefined: drop silent items first")
    projection = (estimate * target).sum(-1, keepdim=True) / energy * target
    return 10 * (projection.square().sum(-1) / (estimate - projection).square().sum(-1)).log10()
