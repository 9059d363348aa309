"""Log-spectral distance: closed forms, and spectra in dB by librosa."""

import math

import numpy as np
import pytest
import torch

from toneme.eval.metrics.log_spectral import log_spectral

from ..signals import noise, worn


def test_a_gain_is_its_decibels_and_silence_is_floored():
    loud = noise(24000)[None]
    assert log_spectral(loud * 2, loud).item() == pytest.approx(20 * math.log10(2), rel=1e-4)
    silence = torch.zeros(1, 24000)
    assert log_spectral(silence + 1e-7, silence).item() == 0


def test_it_equals_librosas_decibels(speech):
    librosa = pytest.importorskip("librosa")
    estimate = worn(speech)

    def decibels(x):
        spectrum = np.abs(librosa.stft(x[0].numpy(), n_fft=2048, hop_length=512, window="hann", pad_mode="reflect"))
        return librosa.amplitude_to_db(spectrum, ref=1.0, amin=1e-5 * 512, top_db=None)

    expected = np.sqrt(np.square(decibels(estimate) - decibels(speech)).mean(0)).mean()
    assert log_spectral(estimate, speech).item() == pytest.approx(expected, rel=1e-3)
