"""Loudness of short pieces, and levels brought to it.

Source: ITU-R BS.1770-4, annex 1: the K-weighting's two filters and the -0.691 dB; without gates, which need 400 ms blocks.
"""

import numpy as np

SHELF = ((1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585))
HIGHPASS = ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621))
DESIGN_RATE = 48_000  # Hz, that the standard's coefficients are for
PEAK = 0.99  # the highest that a level may make a sample


def loudness(waveform: np.ndarray, sample_rate: int) -> float:
    """Return the loudness of [channels, samples] in LUFS; -inf for silence."""
    if not waveform.shape[-1]:
        return -np.inf
    spectrum = np.fft.rfft(waveform, axis=-1)
    gain = k_weighting(np.fft.rfftfreq(waveform.shape[-1], 1 / sample_rate))
    power = np.abs(spectrum * gain) ** 2
    power[..., 1 : (waveform.shape[-1] + 1) // 2] *= 2  # the negative frequencies
    mean_square = power.sum(-1) / waveform.shape[-1] ** 2
    with np.errstate(divide="ignore"):
        return float(-0.691 + 10 * np.log10(mean_square.sum()))


def k_weighting(frequencies: np.ndarray) -> np.ndarray:
    """Return the magnitude of the K-weighting at frequencies in Hz, held above half of its design rate."""
    z = np.exp(-2j * np.pi * np.minimum(frequencies, DESIGN_RATE / 2) / DESIGN_RATE)
    response = np.ones_like(z)
    for above, below in (SHELF, HIGHPASS):
        response *= (above[0] + above[1] * z + above[2] * z**2) / (below[0] + below[1] * z + below[2] * z**2)
    return np.abs(response)


def level(waveform: np.ndarray, sample_rate: int, target: float) -> np.ndarray:
    """Return the waveform at `target` LUFS, less where its peak would clip; silence, and what is nearly that, as it is."""
    now = loudness(waveform, sample_rate)
    if now < -70:
        return waveform
    gain = 10 ** ((target - now) / 20)
    peak = float(np.abs(waveform).max())
    return (waveform * min(gain, PEAK / peak)).astype(np.float32)
