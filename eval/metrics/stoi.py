"""STOI and ESTOI, short-time objective intelligibility from 0 to 1 without unit, higher is better.

Sources: Taal et al., "An Algorithm for Intelligibility Prediction of Time-Frequency Weighted Noisy Speech", 2011; Jensen and
Taal, "An Algorithm for Predicting the Intelligibility of Speech Masked by Modulated Noise Maskers", 2016. Computed by the
`pystoi` package at 10 kHz.
"""

import warnings

from torch import Tensor

from ...codecs.audio_resampling import resample
from ...codecs.errors import AudioError
from . import SPEECH, Metric, check_audible, missing_package

RATE = 10000  # what the definition and the package work at


def stoi(estimate: Tensor, target: Tensor, sample_rate: int, extended: bool = False) -> float:
    """Return STOI of one item, estimate and target [time] at `sample_rate` Hz; ESTOI where `extended`.

    Raises:
        AudioError: if the target is silent or holds too little speech for the measure; the failure is to be counted, not
            replaced.
        MissingDependencyError: if the package is not installed.
    """
    try:
        import pystoi
    except ImportError:
        raise missing_package("STOI", "pystoi") from None
    check_audible(target, "STOI")
    ours, theirs = (resample(x, sample_rate, RATE).numpy() for x in (estimate, target))
    with warnings.catch_warnings():
        # the package warns and returns 1e-5 where it has under 30 frames of speech: that is a failure, not a score
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return float(pystoi.stoi(theirs, ours, RATE, extended=extended))
        except (RuntimeWarning, ValueError, IndexError) as error:
            raise AudioError(f"STOI is undefined for this clip ({error}): leave it out and say so") from None


def estoi(estimate: Tensor, target: Tensor, sample_rate: int) -> float:
    """Return ESTOI of one item; see `stoi`."""
    return stoi(estimate, target, sample_rate, extended=True)


METRICS = (
    Metric(
        name="stoi", label="STOI", unit="", better="higher", group="intelligibility", version=2, compute=stoi,
        sample_rate=RATE, domains=SPEECH, packages=("pystoi",),
    ),
    Metric(
        name="estoi", label="ESTOI", unit="", better="higher", group="intelligibility", version=2, compute=estoi,
        sample_rate=RATE, domains=SPEECH, packages=("pystoi",),
    ),
)  # fmt: skip
