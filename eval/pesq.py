"""PESQ, mean opinion score from 1.0 to 4.64 (wide band) or 4.55 (narrow band), higher is better.

Source: ITU-T P.862 and P.862.2, computed by the `pesq` package at 16 kHz (wide band) or 8 kHz (narrow band).
"""

import soxr
from torch import Tensor

from ..codecs.errors import AudioError, MissingDependencyError


def pesq(estimate: Tensor, target: Tensor, sample_rate: int, band: str = "wb") -> float:
    """Return PESQ of one item, estimate and target [time] at `sample_rate` Hz, resampled by soxr VHQ.

    Raises:
        AudioError: if the measure is undefined, as for silence; the failure is to be counted, not replaced.
        MissingDependencyError: if the package is not installed.
    """
    try:
        import pesq as package
    except ImportError:
        raise MissingDependencyError("PESQ needs the package pesq: pip install toneme[eval]") from None
    rate = {"wb": 16000, "nb": 8000}[band]
    ours, theirs = (soxr.resample(x.numpy(), sample_rate, rate, quality="VHQ") for x in (estimate, target))
    try:
        return float(package.pesq(rate, theirs, ours, band))
    except package.PesqError as error:
        raise AudioError(f"PESQ is undefined for this clip ({error!r}): leave it out and say so") from None
