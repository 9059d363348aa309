"""Loudness: the standard's reference tone, additivity over channels, and levels that do not clip."""

import numpy as np
import pytest

from toneme.recipes.data.loudness import k_weighting, level, loudness


def tone(frequency: float, amplitude: float = 1.0, rate: int = 48000) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * frequency * np.arange(rate) / rate))[None].astype(np.float32)


def test_a_full_scale_tone_of_997_hz_is_3_lufs_below_full_scale():
    assert loudness(tone(997), 48000) == pytest.approx(-3.01, abs=0.02)


def test_ten_times_less_is_20_db_less_and_two_channels_are_3_db_more():
    one = loudness(tone(997), 48000)
    assert loudness(tone(997, 0.1), 48000) == pytest.approx(one - 20, abs=1e-3)
    assert loudness(np.concatenate([tone(997)] * 2), 48000) == pytest.approx(one + 3.01, abs=0.01)


def test_the_weighting_lifts_high_and_cuts_low_frequencies():
    gains = 20 * np.log10(k_weighting(np.array([30.0, 1000.0, 10000.0])))
    assert gains[0] < -5
    assert gains[1] == pytest.approx(0.7, abs=0.15)
    assert gains[2] == pytest.approx(4.0, abs=0.1)


def test_levels_are_reached_unless_they_would_clip():
    assert loudness(level(tone(997, 0.01), 48000, -23.0), 48000) == pytest.approx(-23, abs=0.01)
    assert np.abs(level(tone(997, 0.01), 48000, 3.0)).max() == pytest.approx(0.99, abs=1e-4)


def test_silence_stays_silent():
    silence = np.zeros((1, 1000), np.float32)
    assert level(silence, 48000, -20.0) is silence
