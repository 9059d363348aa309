"""PESQ: the ends of its scale, order of arguments against the package itself, failures."""

import pytest
import torch

from toneme.codecs.audio_resampling import resample
from toneme.codecs.errors import AudioError
from toneme.eval.metrics.pesq import pesq

from ..signals import noise


def test_the_same_speech_is_at_the_top(speech):
    assert pesq(speech[0], speech[0], 24000) == pytest.approx(4.64, abs=0.01)
    assert pesq(speech[0], speech[0], 24000, "nb") == pytest.approx(4.55, abs=0.01)


@pytest.mark.parametrize(("band", "rate"), [("wb", 16000), ("nb", 8000)])
def test_it_is_the_official_packages_value(speech, band, rate):
    package = pytest.importorskip("pesq")
    target = resample(speech[0], 24000, rate)
    estimate = target + 0.02 * noise(len(target))
    expected = package.pesq(rate, target.numpy(), estimate.numpy(), band)
    assert pesq(estimate, target, rate, band) == expected
    assert expected != package.pesq(rate, estimate.numpy(), target.numpy(), band)  # so that the order is seen


@pytest.mark.filterwarnings("error")
def test_silence_is_a_failure_and_no_number():
    with pytest.raises(AudioError, match="PESQ is undefined"):
        pesq(torch.zeros(24000), torch.zeros(24000), 24000)


@pytest.mark.filterwarnings("error")
def test_a_silent_estimate_is_a_failure_and_no_number(speech):
    with pytest.raises(AudioError, match="PESQ is undefined"):
        pesq(torch.zeros(48000), speech[0, :48000], 24000)
