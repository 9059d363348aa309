"""Mel filters: those of transformers and librosa."""

import numpy as np
import pytest

from toneme.eval.spectra import htk_mels, slaney_mels


@pytest.mark.parametrize(("mels", "n_fft", "rate"), [(80, 512, 24000), (150, 2048, 24000), (80, 512, 16000)])
def test_slaney_filters_equal_those_of_transformers(mels, n_fft, rate):
    utils = pytest.importorskip("transformers.audio_utils")
    theirs = utils.mel_filter_bank(n_fft // 2 + 1, mels, 0, rate / 2, rate, norm="slaney", mel_scale="slaney")
    np.testing.assert_allclose(slaney_mels(mels, n_fft, rate).numpy(), theirs, atol=1e-6)


@pytest.mark.parametrize(("mels", "n_fft", "rate", "lowest"), [(64, 1024, 24000, 64.0), (80, 512, 16000, 0.0)])
def test_htk_filters_equal_those_of_transformers(mels, n_fft, rate, lowest):
    utils = pytest.importorskip("transformers.audio_utils")
    theirs = utils.mel_filter_bank(n_fft // 2 + 1, mels, lowest, rate / 2, rate, norm=None, mel_scale="htk")
    np.testing.assert_allclose(htk_mels(mels, n_fft, rate, lowest).numpy(), theirs, atol=1e-5)
