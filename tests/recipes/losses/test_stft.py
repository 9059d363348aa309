"""Spectral distances: closed forms, odd lengths, silence, bfloat16; PQMF rebuilds what it divides."""

import pytest
import torch

from toneme.recipes.errors import RecipeError
from toneme.recipes.losses import build_loss
from toneme.recipes.losses.pqmf import PQMF
from toneme.recipes.losses.spectrum import reflect, spectrum

NAMES = ["mel_dac", "mel_encodec", "mel_vocos", "mel_speechtokenizer", "stft", "stft_bands", "stft_dac"]


def build(name: str) -> torch.nn.Module:
    return build_loss(name, **({"sample_rate": 24000} if name.startswith("mel") else {}))


def noise(samples: int, channels: int = 1) -> torch.Tensor:
    return torch.randn(2, channels, samples, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("samples", [1, 2401])
def test_any_length_is_compared(name, samples):
    estimate = (0.5 * noise(samples, 2)).requires_grad_()
    value = build(name)(estimate, noise(samples, 2))
    value.backward()
    assert value.item() > 0
    assert estimate.grad.isfinite().all()
    assert build(name)(noise(samples), noise(samples)).item() == 0


@pytest.mark.parametrize("name", NAMES)
def test_gradients_at_silence_are_finite(name):
    estimate = torch.zeros(1, 1, 3000, requires_grad=True)
    build(name)(estimate, noise(3000)[:1]).backward()
    assert estimate.grad.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_autocast_changes_nothing(name):
    expected = build(name)(0.5 * noise(3000), noise(3000))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert build(name)(0.5 * noise(3000), noise(3000)).item() == pytest.approx(expected.item(), rel=1e-6)


def test_a_gain_of_ten_is_one_per_window_in_dacs_mels():
    loss = build_loss("mel_dac", sample_rate=24000, windows=(256, 512), mels=(20, 40))
    assert loss(10 * noise(4000), noise(4000)).item() == pytest.approx(2.0, rel=1e-3)


def test_spectral_convergence_is_the_relative_error():
    loss = build_loss("stft", log_weight=0.0)
    assert loss(0.75 * noise(4000), noise(4000)).item() == pytest.approx(0.25, rel=1e-4)


@pytest.mark.parametrize("bands", [2, 4, 6, 8])
def test_pqmf_rebuilds_what_it_divides(bands):
    pqmf, waveform = PQMF(bands), noise(4800)
    rebuilt = pqmf.inverse(pqmf(waveform))
    inside = slice(200, -200)
    error = (rebuilt - waveform)[..., inside].norm() / waveform[..., inside].norm()
    assert error < 0.004


def test_pqmf_divides_channels_one_after_the_other():
    pqmf, waveform = PQMF(4), noise(400, 2)
    torch.testing.assert_close(pqmf(waveform)[:, 4:], pqmf(waveform[:, 1:]))
    with pytest.raises(RecipeError, match="bands"):
        PQMF(5)


def test_what_cannot_be_built_is_told():
    with pytest.raises(RecipeError, match="no loss"):
        build_loss("nothing")
    with pytest.raises(RecipeError, match="cannot be built"):
        build_loss("stft", depth=3)


def test_centred_spectra_equal_those_of_torch():
    taper, waveform = torch.hann_window(256), noise(1000)
    expected = torch.stft(waveform[:, 0], 256, 64, window=taper, center=True, return_complex=True)
    torch.testing.assert_close(spectrum(waveform, 64, taper)[:, 0], expected)


def test_what_is_too_short_to_reflect_is_followed_by_zeros():
    assert reflect(torch.tensor([[1.0]]), 2, 2).tolist() == [[0, 0, 1, 0, 0, 0, 1]]
