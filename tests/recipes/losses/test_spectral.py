"""Spectral losses: closed forms, an independent mel filterbank, and gradients that stay finite at silence."""

import math

import numpy as np
import pytest
import torch

from toneme.recipes.losses import SpectralLoss, mel_filters


def noise(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 8000, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("mels", "n_fft"), [(10, 128), (80, 1024)])
def test_mel_filters_equal_those_of_transformers(mels, n_fft):
    utils = pytest.importorskip("transformers.audio_utils")
    theirs = utils.mel_filter_bank(n_fft // 2 + 1, mels, 0, 12000, 24000, norm=None, mel_scale="htk")
    np.testing.assert_allclose(mel_filters(mels, n_fft, 24000).numpy(), theirs, atol=1e-4)


def test_equal_waveforms_have_no_distance():
    terms = SpectralLoss(24000)(noise(), noise())
    assert all(term.item() == 0 for term in terms.values())


def test_a_gain_of_ten_is_one_per_window_in_log10_mels():
    terms = SpectralLoss(24000, windows=(256, 512), mels=(20, 40), complex_windows=(512,))(10 * noise(), noise())
    assert terms["mel"].item() == pytest.approx(2.0, rel=1e-4)


def test_the_waveform_term_is_the_relative_error():
    terms = SpectralLoss(24000, waveform_weight=3.0)(0.5 * noise(), noise())
    assert terms["waveform"].item() == pytest.approx(1.5, rel=1e-5)


def test_phase_counts_in_the_complex_term_only():
    t = torch.arange(8000) / 24000
    ours, theirs = ((2 * math.pi * 1000 * t + phase).sin()[None] for phase in (0.0, 1.0))
    terms = SpectralLoss(24000, windows=(512,), mels=(40,), complex_windows=(512,))(ours, theirs)
    # the ends, where the reflected sine has another spectrum, are the mel term's only difference
    assert terms["mel"].item() < 0.1 * terms["complex"].item() + 0.1
    assert terms["complex"].item() > 0.02


def test_gradients_are_finite_at_silence():
    estimate = torch.zeros(1, 4000, requires_grad=True)
    sum(SpectralLoss(24000)(estimate, torch.zeros(1, 4000)).values()).backward()
    assert estimate.grad is not None
    assert estimate.grad.isfinite().all()
