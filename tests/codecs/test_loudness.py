"""Loudness by the standard's own numbers, and as another implementation of it measures."""

import numpy as np
import pytest
import torch

from toneme.codecs.loudness import QUIETEST, loudness
from toneme.eval.metrics import loudness as filtered


def tone(seconds: float, rate: int, hertz: float = 997.0) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)[None]


@pytest.mark.parametrize("rate", [16000, 24000, 44100, 48000])
def test_a_full_tone_is_at_the_level_that_the_standard_says(rate):
    assert loudness(tone(3, rate), rate) == pytest.approx(-3.01, abs=0.03)  # BS.1770-4: 0 dB FS at 997 Hz is -3.01 LKFS
    assert loudness(np.repeat(tone(3, rate), 2, 0), rate) == pytest.approx(0.0, abs=0.03)
    assert loudness(tone(3, rate) / 10, rate) == pytest.approx(-23.01, abs=0.03)


def test_gates_leave_silence_out():
    audio = np.concatenate([tone(4, 16000), np.zeros((1, 80000))], axis=1)
    assert loudness(audio, 16000) == pytest.approx(loudness(audio[:, :64000], 16000), abs=0.2)


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_equals_filters_in_time(rate):
    pytest.importorskip("scipy")
    audio = (tone(3, rate, 70) + tone(3, rate, 400) + tone(3, rate, 3000)) * np.linspace(0.001, 0.2, rate * 3)
    # that one resamples to 48 kHz first, and begins at rest
    assert loudness(audio, rate) == pytest.approx(filtered.loudness(torch.from_numpy(audio[0]).float(), rate), abs=0.05)


def test_short_and_silent_audio_have_a_level():
    assert loudness(np.zeros((1, 0)), 16000) == loudness(np.zeros((2, 50000)), 16000) == QUIETEST
    assert QUIETEST < loudness(tone(0.1, 16000), 16000) < -3
