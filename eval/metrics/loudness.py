"""Loudness difference, estimate less target, in LU (1 LU is 1 dB), nearest to zero is best.

Source: ITU-R BS.1770-4: K-weighting, blocks of 400 ms that overlap by 75 %, gates at -70 LUFS and 10 LU below the mean of what
passes. At 48 kHz, for which the recommendation gives its filters.
"""

import numpy as np
from torch import Tensor

from ...codecs.audio_resampling import resample
from ...codecs.errors import AudioError
from . import Metric, missing_package

RATE = 48000
SHELF = ([1.53512485958697, -2.69169618940638, 1.19839281085285], [1.0, -1.69065929318241, 0.73248077421585])
HIGH_PASS = ([1.0, -2.0, 1.0], [1.0, -1.99004745483398, 0.99007225036621])
BLOCK, STEP = RATE * 4 // 10, RATE // 10  # samples
OFFSET, ABSOLUTE_GATE, RELATIVE_GATE = -0.691, -70.0, -10.0  # dB


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
    if len(audio) < BLOCK:
        raise AudioError(f"loudness needs 0.4 s of audio; got {len(audio) / RATE:.2f} s: leave this clip out and say so")
    weighted = lfilter(*HIGH_PASS, lfilter(*SHELF, audio))
    sums = np.concatenate([[0.0], np.cumsum(np.square(weighted))])
    starts = np.arange(0, len(audio) - BLOCK + 1, STEP)
    powers = (sums[starts + BLOCK] - sums[starts]) / BLOCK
    powers = powers[_decibels(powers) > ABSOLUTE_GATE]
    if not len(powers):
        raise AudioError("the clip is silent (below -70 LUFS), so its loudness is undefined: leave it out and say so")
    return float(_decibels(powers[_decibels(powers) > _decibels(powers.mean()) + RELATIVE_GATE].mean()))


def loudness_difference(estimate: Tensor, target: Tensor, sample_rate: int) -> float:
    """Return by how many LU the estimate [time] is louder than the target [time]."""
    return loudness(estimate, sample_rate) - loudness(target, sample_rate)


def _decibels(power: np.ndarray) -> np.ndarray:
    return OFFSET + 10 * np.log10(np.maximum(power, 1e-20))


METRICS = (
    Metric(
        name="loudness_difference", label="loudness difference", unit="LU", better="zero", group="waveform",
        compute=loudness_difference, sample_rate=RATE, packages=("scipy",),
    ),
)  # fmt: skip
