"""Causal STFT and inverse: against scipy, and perfect reconstruction `delay` samples late."""

import numpy as np
import pytest
import scipy.signal
import torch

from toneme.codecs.errors import ShapeError
from toneme.codecs.layers.stft import CausalISTFT, CausalSTFT, wide


def test_spectra_equal_scipy():
    stft = CausalSTFT(96, 24)
    x = torch.randn(1, 480, dtype=torch.float64)
    ours, _ = stft.double().step(x, stft.initial_state(1))
    padded = np.concatenate([np.zeros(72), x[0].numpy()])
    taper = scipy.signal.get_window("hann", 96)
    frames = np.lib.stride_tricks.sliding_window_view(padded, 96)[::24] * (taper / np.sqrt((taper**2).sum()))
    # 32-bit window values, so 1e-6 and not the 1e-15 of the transform
    np.testing.assert_allclose(ours[0].numpy(), np.fft.rfft(frames), atol=1e-6)


@pytest.mark.parametrize(("window", "hop"), [(96, 24), (96, 32), (960, 240)])
def test_inverse_gives_the_input_back_late_by_its_delay(window, hop):
    stft, istft = CausalSTFT(window, hop), CausalISTFT(window, hop)
    x = torch.randn(2, 20 * hop)
    spectrum, _ = stft.step(x, stft.initial_state(2))
    y, _ = istft.step(spectrum, istft.initial_state(2))
    torch.testing.assert_close(y[:, istft.delay :], x[:, : x.shape[1] - istft.delay], atol=1e-5, rtol=0)


@pytest.mark.parametrize("split", [[1, 9], [5, 5], [3, 3, 4], [1] * 10])
def test_steps_joined_equal_the_whole(split):
    stft, istft = CausalSTFT(96, 24), CausalISTFT(96, 24)
    x = torch.randn(2, 240)
    whole, _ = stft.step(x, stft.initial_state(2))
    back, _ = istft.step(whole, istft.initial_state(2))
    state, late, pieces, sounds = stft.initial_state(2), istft.initial_state(2), [], []
    for chunk in x.split([24 * n for n in split], dim=1):
        spectrum, state = stft.step(chunk, state)
        sound, late = istft.step(spectrum, late)
        pieces.append(spectrum)
        sounds.append(sound)
    torch.testing.assert_close(torch.cat(pieces, 1), whole, atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.cat(sounds, 1), back, atol=1e-6, rtol=0)


def test_windows_that_do_not_overlap_evenly_are_refused():
    with pytest.raises(ShapeError, match="third of the window"):
        CausalISTFT(96, 48)
    with pytest.raises(ShapeError, match="multiple of 24 samples"):
        CausalSTFT(96, 24).step(torch.zeros(1, 25), torch.zeros(1, 72))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_spectra_are_taken_in_32_bits_at_least(dtype):
    assert torch.fft.rfft(wide(torch.ones(12, dtype=dtype))).real.dtype == torch.promote_types(dtype, torch.float32)
