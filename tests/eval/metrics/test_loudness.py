"""Loudness: the recommendation's calibration, gains, pyloudnorm beside it, failures."""

import math

import pytest
import torch

from toneme.codecs.audio_resampling import resample
from toneme.codecs.errors import AudioError
from toneme.eval.metrics.loudness import loudness, loudness_difference

from ..signals import tone, worn


def test_a_full_scale_sine_of_997_hz_is_minus_3_lufs():
    # BS.1770-4, annex 1: 0 dB FS at 997 Hz in one channel gives -3.01 LKFS
    assert loudness(tone(997, 48000, 3.0), 48000) == pytest.approx(-3.01, abs=0.01)


def test_it_equals_pyloudnorm(speech):
    pyloudnorm = pytest.importorskip("pyloudnorm")
    for audio in (speech[0], worn(speech[0])):
        at_48k = resample(audio, 24000, 48000)
        theirs = pyloudnorm.Meter(48000).integrated_loudness(at_48k.numpy())
        assert loudness(audio, 24000) == pytest.approx(theirs, abs=0.05)


def test_silence_is_gated_and_a_gain_is_its_decibels(speech):
    padded = torch.nn.functional.pad(speech[0], (0, 24000 * 4))
    assert loudness(padded, 24000) == pytest.approx(loudness(speech[0], 24000), abs=0.2)
    assert loudness_difference(0.5 * speech[0], speech[0], 24000) == pytest.approx(20 * math.log10(0.5), abs=1e-3)


@pytest.mark.parametrize(("audio", "why"), [(torch.zeros(48000), "silent"), (torch.ones(1000), "0.4 s")])
def test_undefined_loudness_is_a_failure(audio, why):
    with pytest.raises(AudioError, match=why):
        loudness(audio, 48000)
