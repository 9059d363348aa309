"""DAC's mel distance: a closed form, and the value of DAC's own code."""

import json
import math

import numpy as np
import pytest
import torch

from toneme.eval.metrics.mel_distance import mel_distance
from toneme.eval.spectra import slaney_mels

from ..signals import DAC, noise, worn


def test_a_gain_is_its_logarithm():
    loud = noise(24000)[None] * 10
    louder = mel_distance(loud * 2, loud, 24000) - sum_of_magnitudes(loud)
    # two scales, each log10(4) apart everywhere, since powers are compared
    assert louder.item() == pytest.approx(2 * math.log10(4), rel=1e-3)
    assert mel_distance(loud, loud, 24000).item() == 0


def sum_of_magnitudes(loud: torch.Tensor) -> torch.Tensor:
    """The distance's other half for a doubled signal: the mean mel magnitude itself, by numpy."""
    total = 0.0
    for window, mels in ((2048, 150), (512, 80)):
        padded = np.pad(loud[0].numpy().astype(np.float64), window // 2, mode="reflect")
        taper = np.sin(np.pi * np.arange(window) / window) ** 2
        frames = np.lib.stride_tricks.sliding_window_view(padded, window)[:: window // 4] * taper
        total += (np.abs(np.fft.rfft(frames)) @ slaney_mels(mels, window, 24000).double().numpy()).mean()
    return torch.tensor(total)


def test_it_equals_dac(speech):
    expected = json.loads(DAC.read_text())["mel_distance"]
    assert mel_distance(worn(speech[0])[None], speech, 24000).item() == pytest.approx(expected, rel=1e-4)
