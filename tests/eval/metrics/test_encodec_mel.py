"""EnCodec's mel distance: a closed form, and its mels by librosa."""

import math

import numpy as np
import pytest

from toneme.eval.metrics.encodec_mel import WINDOWS, encodec_mel, mel_powers

from ..signals import noise, worn


def test_a_gain_of_loud_noise_is_its_logarithm_squared_and_the_mean_power():
    loud = noise(24000)[None] * 100  # so loud that the floor of 1e-5 is nothing, save in bins that no filter reaches
    power = sum(mel_powers(loud, window, 24000).mean().item() for window in WINDOWS)
    reached = sum((mel_powers(loud, window, 24000) > 0).double().mean().item() for window in WINDOWS)
    expected = (3 * power + reached * math.log10(4) ** 2) / 10
    assert encodec_mel(2 * loud, loud, 24000).item() == pytest.approx(expected, rel=1e-3)


def librosa_mels(audio: np.ndarray, window: int) -> np.ndarray:
    """Return mel powers [mels, frames] by librosa."""
    librosa = pytest.importorskip("librosa")
    padded = np.pad(audio, (window - window // 4) // 2, mode="reflect")
    shape = {"n_fft": window, "hop_length": window // 4, "center": False, "n_mels": 64, "fmin": 64, "htk": True, "norm": None}
    return librosa.feature.melspectrogram(y=padded, sr=24000, power=2.0, **shape) / (np.hanning(window + 1)[:-1] ** 2).sum()


@pytest.mark.parametrize("window", [64, 1024])
def test_mels_equal_those_of_librosa(speech, window):
    audio = worn(speech[0])[: 24000 - 24000 % window]
    theirs = librosa_mels(audio.numpy(), window)
    ours = mel_powers(audio[None], window, 24000)[0].T.numpy()
    assert ours.shape[1] == len(audio) // (window // 4)
    np.testing.assert_allclose(ours[:, : theirs.shape[1]], theirs, rtol=1e-3, atol=1e-6)


def test_the_distance_is_that_of_librosas_mels(speech):
    target = speech[0][: 23 * 1024]
    estimate = worn(target)
    errors = []
    for window in WINDOWS:
        ours, theirs = (librosa_mels(x.numpy(), window) for x in (estimate, target))
        errors += [np.abs(ours - theirs).mean(), np.square(np.log10(1e-5 + ours) - np.log10(1e-5 + theirs)).mean()]
    found = encodec_mel(estimate[None], target[None], 24000).item()
    assert found == pytest.approx(np.mean(errors), rel=1e-4)  # 32 bits in other orders
