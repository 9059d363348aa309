"""STOI and ESTOI: the top of the scale, monotony, torchmetrics beside them, failures."""

import pytest
import torch

from toneme.codecs.audio_resampling import resample
from toneme.codecs.errors import AudioError
from toneme.eval.metrics.stoi import estoi, stoi

from ..signals import noise, tone


@pytest.mark.parametrize("measure", [stoi, estoi])
def test_it_is_one_for_the_same_and_falls_with_noise(speech, measure):
    target = resample(speech[0], 24000, 10000)
    little, much = (target + level * noise(len(target)) for level in (0.005, 0.05))
    assert measure(target, target, 10000) == pytest.approx(1.0, abs=1e-4)
    assert measure(much, target, 10000) < measure(little, target, 10000) < 1


@pytest.mark.parametrize("extended", [False, True])
def test_it_equals_the_package_called_by_torchmetrics(speech, extended):
    audio = pytest.importorskip("torchmetrics.functional.audio")
    target = resample(speech[0], 24000, 10000)
    estimate = target + 0.02 * noise(len(target))
    theirs = audio.short_time_objective_intelligibility(estimate, target, 10000, extended=extended).item()
    assert stoi(estimate, target, 10000, extended) == pytest.approx(theirs, abs=1e-5)


@pytest.mark.parametrize("measure", [stoi, estoi])
def test_silence_is_a_failure_and_no_number(measure):
    with pytest.raises(AudioError, match="the target is silent, so STOI is undefined"):
        measure(torch.zeros(24000), torch.zeros(24000), 24000)
    with pytest.raises(AudioError, match="STOI is undefined"):
        measure(torch.ones(1), torch.ones(1), 24000)


def test_too_little_speech_is_a_failure_and_no_number():
    with pytest.raises(AudioError, match="STOI is undefined"):
        stoi(torch.zeros(2000), tone(200, 24000, 2000 / 24000), 24000)
