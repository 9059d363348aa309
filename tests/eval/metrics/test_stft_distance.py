"""DAC's STFT distance: a closed form, and the value of DAC's own code."""

import json
import math

import pytest

from toneme.codecs.errors import ShapeError
from toneme.eval.metrics.stft_distance import stft_distance
from toneme.eval.spectra import magnitudes

from ..signals import DAC, noise, worn


def test_a_gain_is_its_logarithm():
    loud = noise(24000)[None] * 10
    linear = sum(magnitudes(loud, window).mean().item() for window in (2048, 512))
    assert stft_distance(loud * 2, loud).item() - linear == pytest.approx(2 * math.log10(4), rel=1e-3)
    with pytest.raises(ShapeError, match="one shape"):
        stft_distance(loud, loud[:, 1:])


def test_it_equals_dac(speech):
    expected = json.loads(DAC.read_text())["stft_distance"]
    assert stft_distance(worn(speech[0])[None], speech).item() == pytest.approx(expected, rel=1e-4)
