"""Metrics: closed forms, and an independent implementation where there is one."""

import math

import numpy as np
import pytest
import torch

from toneme.codecs.errors import AudioError, ShapeError
from toneme.eval.metrics.mel_distance import mel_distance
from toneme.eval.metrics.pesq import pesq
from toneme.eval.metrics.si_sdr import si_sdr
from toneme.eval.metrics.stoi import stoi
from toneme.eval.spectra import slaney_mels
from toneme.eval.summary import summarise


def tone(hertz: float, rate: int = 16000, seconds: float = 1.0) -> torch.Tensor:
    return (2 * math.pi * hertz * torch.arange(int(rate * seconds)) / rate).sin()


def test_si_sdr_of_known_noise_is_20_db():
    target, noise = tone(200), tone(300)  # orthogonal over whole periods
    assert si_sdr(3 * (target + 0.1 * noise), target).item() == pytest.approx(20.0, abs=1e-3)


def test_si_sdr_refuses_silence_and_unequal_lengths():
    with pytest.raises(ShapeError, match="silent"):
        si_sdr(tone(200), torch.zeros(16000))
    with pytest.raises(ShapeError, match="one shape"):
        si_sdr(tone(200), tone(200)[:-1])


@pytest.mark.parametrize(("mels", "n_fft", "rate"), [(80, 512, 24000), (150, 2048, 24000), (80, 512, 16000)])
def test_slaney_filters_equal_those_of_transformers(mels, n_fft, rate):
    utils = pytest.importorskip("transformers.audio_utils")
    theirs = utils.mel_filter_bank(n_fft // 2 + 1, mels, 0, rate / 2, rate, norm="slaney", mel_scale="slaney")
    np.testing.assert_allclose(slaney_mels(mels, n_fft, rate).numpy(), theirs, atol=1e-6)


def test_mel_distance_of_a_gain_is_its_logarithm():
    noise = torch.randn(1, 24000, generator=torch.Generator().manual_seed(0)) * 10
    louder = mel_distance(noise * 2, noise, 24000) - sum_of_magnitudes(noise)
    # two scales, each log10(4) apart everywhere, since powers are compared
    assert louder.item() == pytest.approx(2 * math.log10(4), rel=1e-3)
    assert mel_distance(noise, noise, 24000).item() == 0


def sum_of_magnitudes(noise: torch.Tensor) -> torch.Tensor:
    """The distance's other half for a doubled signal: the mean mel magnitude itself, by numpy."""
    total = 0.0
    for window, mels in ((2048, 150), (512, 80)):
        padded = np.pad(noise[0].numpy().astype(np.float64), window // 2, mode="reflect")
        taper = np.sin(np.pi * np.arange(window) / window) ** 2
        frames = np.lib.stride_tricks.sliding_window_view(padded, window)[:: window // 4] * taper
        total += (np.abs(np.fft.rfft(frames)) @ slaney_mels(mels, window, 24000).double().numpy()).mean()
    return torch.tensor(total)


def test_pesq_and_stoi_of_the_same_speech_are_at_their_top(speech):
    waveform = speech[0]
    assert pesq(waveform, waveform, 24000) == pytest.approx(4.64, abs=0.01)
    assert stoi(waveform, waveform, 24000) == pytest.approx(1.0, abs=1e-4)


def test_pesq_and_stoi_fall_with_noise(speech):
    waveform = speech[0]
    noise = torch.randn(waveform.shape, generator=torch.Generator().manual_seed(0))
    little, much = (waveform + level * noise for level in (0.005, 0.05))
    assert pesq(much, waveform, 24000) < pesq(little, waveform, 24000) < 4.6
    assert stoi(much, waveform, 24000) < stoi(little, waveform, 24000) < 1


def test_undefined_scores_are_failures_and_not_numbers():
    with pytest.raises(AudioError, match="PESQ is undefined"):
        pesq(torch.zeros(24000), torch.zeros(24000), 24000)
    with pytest.raises(AudioError, match="STOI is undefined"):
        stoi(torch.zeros(2000), tone(200, 24000, 2000 / 24000), 24000)


def test_bootstrap_interval_is_about_that_of_the_normal_law():
    values = np.random.default_rng(1).normal(3.0, 1.0, 400).tolist()
    summary = summarise(values, failures=2)
    assert summary.failures == 2
    assert summary.high - summary.low == pytest.approx(2 * 1.96 / 20, rel=0.15)
    with pytest.raises(ValueError, match="nothing to summarise"):
        summarise([], failures=3)
