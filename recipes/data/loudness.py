"""Loudness of short pieces, and levels brought to it.

Source: ITU-R BS.1770-4, annex 1: the K-weighting's two filters and the -0.691 dB; without gates, which need 400 ms blocks.
"""

import numpy as np

from ...codecs.loudness import OFFSET, weighting

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
        return float(OFFSET + 10 * np.log10(mean_square.sum()))


def k_weighting(frequencies: np.ndarray) -> np.ndarray:
    """Return the magnitude of the K-weighting at frequencies in Hz, held above half of its design rate."""
    return np.abs(weighting(frequencies))


def level(waveform: np.ndarray, sample_rate: int, target: float) -> np.ndarray:
    """Return the waveform at `target` LUFS, less where its peak would clip; silence, and what is nearly that, as it is."""
    now = loudness(waveform, sample_rate)
    if now < -70:
        return waveform
    gain = 10 ** ((target - now) / 20)
    peak = float(np.abs(waveform).max())
    return (waveform * min(gain, PEAK / peak)).astype(np.float32)
