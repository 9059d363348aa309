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


@pytest.mark.parametrize("window", [64, 1024])
def test_mels_equal_those_of_librosa(speech, window):
    librosa = pytest.importorskip("librosa")
    audio = worn(speech[0])[: 24000 - 24000 % window]
    pad = (window - window // 4) // 2
    padded = np.pad(audio.numpy(), pad, mode="reflect")
    theirs = (
        librosa.feature.melspectrogram(
            y=padded,
            sr=24000,
            n_fft=window,
            hop_length=window // 4,
            center=False,
            power=2.0,
            n_mels=64,
            fmin=64,
            htk=True,
            norm=None,
        )
        / (np.hanning(window + 1)[:-1] ** 2).sum()
    )
    ours = mel_powers(audio[None], window, 24000)[0].T.numpy()
    assert ours.shape[1] == len(audio) // (window // 4)
    np.testing.assert_allclose(ours[:, : theirs.shape[1]], theirs, rtol=1e-3, atol=1e-6)
