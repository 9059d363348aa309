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
QUIETEST = -70.0  # LUFS, the absolute gate
OFFSET, RELATIVE = -0.691, 10.0  # dB, LU


def loudness(waveform: np.ndarray, sample_rate: int) -> float:
    """Return the loudness in LUFS of audio [channels, samples] of one or two channels; -70 for all that is softer."""
    found = gated(block_powers(_weighted(waveform, sample_rate), sample_rate))
    return QUIETEST if found is None else max(QUIETEST, found)


def weighting(frequencies: np.ndarray) -> np.ndarray:
    """Return the K-weighting's complex response at frequencies in Hz, held above half of its design rate."""
    z = np.exp(-2j * np.pi * np.minimum(frequencies, DESIGN_RATE / 2) / DESIGN_RATE)
    response = np.ones_like(z)
    for above, below in (SHELF, HIGH_PASS):
        response *= (above[0] + above[1] * z + above[2] * z**2) / (below[0] + below[1] * z + below[2] * z**2)
    return response


def block_powers(weighted: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return the power of each block of weighted audio [channels, samples], channels added."""
    block, step = sample_rate * 4 // 10, sample_rate // 10
    sums = np.concatenate([[0.0], np.cumsum(np.square(weighted).sum(0))])
    starts = np.arange(0, weighted.shape[1] - block + 1, step)
    return (sums[starts + block] - sums[starts]) / block


def gated(powers: np.ndarray) -> float | None:
    """Return the loudness in LUFS of blocks by what passes both gates, None where none is above the absolute one."""
    powers = powers[in_lufs(powers) > QUIETEST]
    if not len(powers):
        return None
    return float(in_lufs(powers[in_lufs(powers) > in_lufs(powers.mean()) - RELATIVE].mean()))


def in_lufs(power: np.ndarray) -> np.ndarray:
    """Return weighted powers in LUFS."""
    return OFFSET + 10 * np.log10(np.maximum(power, 1e-20))


def _weighted(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    n = max(waveform.shape[1], math.ceil(SHORTEST * sample_rate))
    size = n + sample_rate // 10  # room for the filters to ring out beyond the end
    response = weighting(np.fft.rfftfreq(size, 1 / sample_rate))
    return np.fft.irfft(np.fft.rfft(waveform.astype(np.float64), size) * response, size)[:, :n]
