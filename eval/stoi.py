"""STOI, short-time objective intelligibility from 0 to 1, higher is better.

Source: Taal et al., "An Algorithm for Intelligibility Prediction of Time-Frequency Weighted Noisy Speech", 2011,
computed by the `pystoi` package, which resamples to 10 kHz itself.
"""

import warnings

from torch import Tensor

from ..codecs.errors import AudioError, MissingDependencyError


def stoi(estimate: Tensor, target: Tensor, sample_rate: int) -> float:
    """Return STOI of one item, estimate and target [time] at `sample_rate` Hz.

    Raises:
        AudioError: if there is too little speech for the measure; the failure is to be counted, not replaced.
        MissingDependencyError: if the package is not installed.
    """
    try:
        import pystoi
    except ImportError:
        raise MissingDependencyError("STOI needs the package pystoi: pip install toneme[eval]") from None
    with warnings.catch_warnings():
        # the package warns and returns 1e-5 where it has under 30 frames of speech: that is a failure, not a score
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return float(pystoi.stoi(target.numpy(), estimate.numpy(), sample_rate))
        except RuntimeWarning as warning:
            raise AudioError(f"STOI is undefined for this clip ({warning}): leave it out and say so") from None
