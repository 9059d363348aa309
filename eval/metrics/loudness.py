"""Loudness difference, estimate less target, in LU (1 LU is 1 dB), nearest to zero is best.

Source: ITU-R BS.1770-4: K-weighting, blocks of 400 ms that overlap by 75 %, gates at -70 LUFS and 10 LU below the mean of what
passes. At 48 kHz, for which the recommendation gives its filters.
"""

import numpy as np
from torch import Tensor

from ...codecs.audio_resampling import resample
from ...codecs.errors import AudioError
from ...codecs.loudness import DESIGN_RATE, HIGH_PASS, SHELF, block_powers, gated
from . import Metric, missing_package

RATE = DESIGN_RATE
SHORTEST = RATE * 4 // 10  # samples of a block


def loudness(waveform: Tensor, sample_rate: int) -> float:
    """Return the integrated loudness in LUFS of a mono waveform [time].

    Raises:
        AudioError: if it is shorter than 400 ms, or never above the absolute gate.
        MissingDependencyError: if scipy is not installed.
    """
    try:
        from scipy.signal import lfilter
    except ImportError:
        raise missing_package("loudness", "scipy") from None
    audio = resample(waveform, sample_rate, RATE).double().numpy()
    if len(audio) < SHORTEST:
        raise AudioError(f"loudness needs 0.4 s of audio; got {len(audio) / RATE:.2f} s: leave this clip out and say so")
    weighted = np.asarray(lfilter(*HIGH_PASS, lfilter(*SHELF, audio)))
    found = gated(block_powers(weighted[None], RATE))
    if found is None:
        raise AudioError("the clip is silent (below -70 LUFS), so its loudness is undefined: leave it out and say so")
    return found


def loudness_difference(estimate: Tensor, target: Tensor, sample_rate: int) -> float:
    """Return by how many LU the estimate [time] is louder than the target [time]."""
    return loudness(estimate, sample_rate) - loudness(target, sample_rate)


METRICS = (
    Metric(
        name="loudness_difference", label="loudness difference", unit="LU", better="zero", group="waveform",
        compute=loudness_difference, sample_rate=RATE, packages=("scipy",),
    ),
)  # fmt: skip
