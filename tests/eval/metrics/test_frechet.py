"""Frechet distance: a closed form, scipy and torchmetrics beside it, its embedding, refusals."""

import numpy as np
import pytest
import torch

from toneme.codecs.errors import AudioError
from toneme.eval.metrics.frechet import frechet_distance, mel_statistics

from ..signals import noise


def test_gaussians_along_the_axes_have_a_closed_form():
    rng = np.random.default_rng(0)
    first = rng.normal(size=(200_000, 2)) * [1.0, 2.0]
    second = rng.normal(size=(200_000, 2)) * [3.0, 2.0] + [4.0, 0.0]
    assert frechet_distance(first, second) == pytest.approx(4.0**2 + (3.0 - 1.0) ** 2, rel=0.01)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9)


def test_it_equals_scipy_and_torchmetrics():
    linalg = pytest.importorskip("scipy.linalg")
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(300, 6)) @ rng.normal(size=(6, 6)), rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6)) + 1
    covariances, means = [np.cov(x, rowvar=False) for x in (first, second)], first.mean(0) - second.mean(0)
    root = linalg.sqrtm(covariances[0] @ covariances[1]).real
    ours = frechet_distance(first, second)
    assert ours == pytest.approx(means @ means + np.trace(covariances[0] + covariances[1] - 2 * root), rel=1e-9)
    fid = pytest.importorskip("torchmetrics.image.fid")
    moments = [torch.from_numpy(x) for pair in zip((first.mean(0), second.mean(0)), covariances, strict=True) for x in pair]
    assert ours == pytest.approx(fid._compute_fid(*moments).item(), rel=1e-6)


def test_embeddings_are_of_windows_and_shift_with_level():
    audio = noise(60000)
    quiet, loud = mel_statistics(0.1 * audio), mel_statistics(audio)
    assert loud.shape == (4, 48)
    np.testing.assert_allclose(loud[:, :24] - quiet[:, :24], 1.0, atol=1e-3)
    np.testing.assert_allclose(loud[:, 24:], quiet[:, 24:], atol=1e-3)
    assert mel_statistics(audio[:10000]).shape == (1, 48)
    with pytest.raises(AudioError, match="an embedding needs"):
        mel_statistics(audio[:100])


def test_too_few_windows_are_refused():
    with pytest.raises(AudioError, match="more than 48 windows"):
        frechet_distance(np.zeros((48, 48)), np.zeros((60, 48)))
