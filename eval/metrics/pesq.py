"""PESQ, mean opinion score from 1.0 to 4.64 (wide band) or 4.55 (narrow band), higher is better.

Source: ITU-T P.862, P.862.1 and P.862.2, computed by the `pesq` package at 16 kHz (wide band) or 8 kHz (narrow band).
PESQ sets levels and aligns in time by itself.
"""

import numpy as np
from torch import Tensor

from ...codecs.audio_resampling import resample
from ...codecs.errors import AudioError
from . import SPEECH, Metric, missing_package

RATES = {"wb": 16000, "nb": 8000}


def pesq(estimate: Tensor, target: Tensor, sample_rate: int, band: str = "wb") -> float:
    """Return PESQ of one item, estimate and target [time] at `sample_rate` Hz.

    Raises:
        AudioError: if the measure is undefined, as for silence; the failure is to be counted, not replaced.
        MissingDependencyError: if the package is not installed.
    """
    try:
        import pesq as package
    except ImportError:
        raise missing_package("PESQ", "pesq") from None
    rate = RATES[band]
    ours, theirs = (resample(x, sample_rate, rate).numpy() for x in (estimate, target))
    try:
        with np.errstate(divide="ignore", invalid="ignore"):  # it divides by a peak that silence lacks
            return float(package.pesq(rate, theirs, ours, band))
    except (package.PesqError, ValueError) as error:  # the latter where the estimate is silent
        raise AudioError(f"PESQ is undefined for this clip ({error!r}): leave it out and say so") from None


def _narrow(estimate: Tensor, target: Tensor, sample_rate: int) -> float:
    return pesq(estimate, target, sample_rate, "nb")


METRICS = (
    Metric(
        name="pesq_wb", label="PESQ-WB", unit="MOS", better="higher", group="quality", compute=pesq,
        sample_rate=16000, domains=SPEECH, packages=("pesq",),
    ),
    Metric(
        name="pesq_nb", label="PESQ-NB", unit="MOS", better="higher", group="quality", compute=_narrow,
        sample_rate=8000, domains=SPEECH, packages=("pesq",),
    ),
)  # fmt: skip
