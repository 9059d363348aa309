"""ViSQOL: the tops of its two scales, that it falls with noise, and the package's own values."""

import pytest
import torch

from toneme.codecs.audio_resampling import resample
from toneme.codecs.errors import AudioError
from toneme.eval.metrics.visqol import METRICS, visqol

from ..signals import noise

api = pytest.importorskip("visqol.api", reason="ViSQOL needs the package visqol-python, which compiles libsvm")


def test_speech_is_at_the_top_and_falls_with_noise(speech):
    target = resample(speech[0, :72000], 24000, 16000)
    little, much = (target + level * noise(len(target)) for level in (0.001, 0.05))
    assert visqol(target, target, 16000) == pytest.approx(5.0, abs=0.01)
    assert visqol(much, target, 16000) < visqol(little, target, 16000) < 5


def test_the_mode_for_audio_is_at_its_own_top_and_the_packages_value(speech):
    target = resample(speech[0, :48000], 24000, 48000)
    estimate = target + 0.02 * noise(len(target))
    top = visqol(target, target, 48000, "audio")
    assert top == pytest.approx(4.73, abs=0.01)
    scorer = api.VisqolApi()
    scorer.create(mode="audio")
    expected = scorer.measure_from_arrays(target.double().numpy(), estimate.double().numpy(), 48000).moslqo
    (metric,) = (metric for metric in METRICS if metric.name == "visqol_audio")
    assert metric.compute(estimate, target, metric.sample_rate) == pytest.approx(expected, abs=1e-6)
    assert expected < top


def test_it_is_the_packages_value_with_reference_and_degraded_in_order(speech):
    target = resample(speech[0, :72000], 24000, 16000)
    estimate = target + 0.02 * noise(len(target))
    scorer = api.VisqolApi()
    scorer.create(mode="speech", use_lattice_model=False)
    expected = scorer.measure_from_arrays(target.double().numpy(), estimate.double().numpy(), 16000).moslqo
    assert visqol(estimate, target, 16000) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("mode", "rate"), [("speech", 16000), ("audio", 48000)])
def test_silence_is_a_failure_and_no_number(mode, rate):
    with pytest.raises(AudioError, match="the target is silent, so ViSQOL is undefined"):
        visqol(0.1 * noise(rate), torch.zeros(rate), rate, mode)
