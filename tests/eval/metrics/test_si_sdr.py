"""SI-SDR: a closed form, torchmetrics and auraloss beside it, refusals."""

import pytest
import torch

from toneme.codecs.errors import AudioError, ShapeError
from toneme.eval.metrics.si_sdr import si_sdr

from ..signals import noise, tone, worn


def test_known_noise_is_20_db():
    target, other = tone(200), tone(300)  # orthogonal over whole periods
    assert si_sdr(3 * (target + 0.1 * other), target).item() == pytest.approx(20.0, abs=1e-3)


def test_it_equals_torchmetrics_and_auraloss(speech):
    target = speech[0]
    estimate = worn(target) + 0.01 * noise(len(target)) + 0.1
    ours = si_sdr(estimate, target).item()
    metrics = pytest.importorskip("torchmetrics.functional.audio")
    assert ours == pytest.approx(
        metrics.scale_invariant_signal_distortion_ratio(estimate, target, zero_mean=True).item(), abs=1e-3
    )
    auraloss = pytest.importorskip("auraloss")
    assert ours == pytest.approx(-auraloss.time.SISDRLoss()(estimate[None, None], target[None, None]).item(), abs=1e-3)


def test_silence_and_unequal_lengths_are_refused():
    with pytest.raises(AudioError, match="the target is silent, so SI-SDR is undefined"):
        si_sdr(torch.stack([tone(200)] * 2), torch.stack([tone(200), torch.ones(16000)]))  # one of two, no more than an offset
    with pytest.raises(ShapeError, match="one shape"):
        si_sdr(tone(200), tone(200)[:-1])
