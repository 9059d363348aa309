"""Loudness of audio in LUFS, at any sample rate and of any length.

Source: ITU-R BS.1770-4: K-weighting, blocks of 400 ms that overlap by 75 %, gates at -70 LUFS and 10 LU below the mean of what
passes. The weighting is applied to a spectrum, so that no filter has to be designed for other rates than 48 kHz.
"""

import math

import numpy as np

SHELF = ((1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585))
HIGH_PASS = ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621))
DESIGN_RATE = 48_000  # Hz, that the standard's coefficients are for
SHORTEST = 0.5  # seconds that shorter audio is filled up to with zeros, as descript-audiotools does
QUIETEST = -70.0  # LUFS


def loudness(waveform: np.ndarray, sample_rate: int) -> float:
    """Return the loudness in LUFS of audio [channels, samples] of one or two channels; -70 for all that is softer."""
    weighted = _weighted(waveform, sample_rate)
    block, step = sample_rate * 4 // 10, sample_rate // 10
    sums = np.concatenate([[0.0], np.cumsum(np.square(weighted).sum(0))])
    starts = np.arange(0, weighted.shape[1] - block + 1, step)
    powers = (sums[starts + block] - sums[starts]) / block
    for gate in (lambda kept: QUIETEST, lambda kept: _decibels(kept.mean()) - 10):
        powers = powers[_decibels(powers) > gate(powers)]
        if not len(powers):
            return QUIETEST
    return max(QUIETEST, float(_decibels(powers.mean())))


def _weighted(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    n = max(waveform.shape[1], math.ceil(SHORTEST * sample_rate))
    size = n + sample_rate // 10  # room for the filters to ring out beyond the end
    z = np.exp(-2j * np.pi * np.minimum(np.fft.rfftfreq(size, 1 / sample_rate), DESIGN_RATE / 2) / DESIGN_RATE)
    response = np.ones_like(z)
    for above, below in (SHELF, HIGH_PASS):
        response *= (above[0] + above[1] * z + above[2] * z**2) / (below[0] + below[1] * z + below[2] * z**2)
    return np.fft.irfft(np.fft.rfft(waveform.astype(np.float64), size) * response, size)[:, :n]


def _decibels(power: np.ndarray) -> np.ndarray:
    return -0.691 + 10 * np.log10(np.maximum(power, 1e-20))
