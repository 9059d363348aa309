"""Fourier transforms by products equal torch's, and overlap-add without writing in place equals the layers' own."""

import pytest
import torch

from toneme.codecs.layers import stft
from toneme.export.fourier import InverseRealFourier, PlainISTFT, PlainSTFT, RealFourier, factors, framed, overlap_add


@pytest.mark.parametrize("n", [8, 10, 14, 960, 1280, 2400])
def test_transforms_are_as_exact_as_fast_ones(n):
    x = torch.randn(2, 3, n, generator=torch.Generator().manual_seed(n))
    exact = torch.fft.rfft(x.double())
    found = RealFourier(n)(x)
    error = (torch.complex(found.real, found.imag) - exact).abs().max()
    assert error <= 4 * (torch.fft.rfft(x) - exact).abs().max() + 1e-6
    back = InverseRealFourier(n)(exact.real.float(), exact.imag.float())
    torch.testing.assert_close(back, x, atol=2e-6, rtol=0)


def test_the_ends_of_a_spectrum_count_by_their_real_parts():
    real, imag = torch.randn(2, 1, 2, 6, generator=torch.Generator().manual_seed(0)).unbind(0)
    expected = torch.fft.irfft(torch.complex(real, imag), n=10)
    torch.testing.assert_close(InverseRealFourier(10)(real, imag), expected, atol=1e-6, rtol=0)


def test_factors_are_close():
    assert [factors(n) for n in (960, 1280, 2400, 7)] == [(30, 32), (32, 40), (48, 50), (1, 7)]


@pytest.mark.parametrize("frames", [1, 2, 3, 9])
def test_overlap_add_equals_the_layers(frames):
    generator = torch.Generator().manual_seed(frames)
    pieces, state = torch.randn(2, frames, 24, generator=generator), torch.randn(2, 18, generator=generator)
    for ours, theirs in zip(overlap_add(pieces, state, 6), stft.overlap_add(pieces, state, 6), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def test_windows_are_cut_as_unfold_cuts_them():
    x = torch.arange(48.0)[None]
    torch.testing.assert_close(framed(x, 24, 6), x.unfold(-1, 24, 6))


def test_the_layers_equal_the_codecs():
    waveform = torch.randn(2, 24 * 5, generator=torch.Generator().manual_seed(0))
    theirs, back = stft.CausalSTFT(96, 24), stft.CausalISTFT(96, 24)
    expected, after = theirs.step(waveform, theirs.initial_state(2))
    found, state = PlainSTFT(96, 24, theirs.taper).step(waveform, theirs.initial_state(2))
    torch.testing.assert_close(torch.complex(*found), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(state, after)
    sound, after = back.step(expected, back.initial_state(2))
    ours, state = PlainISTFT(96, 24, back.taper).step(expected.real, expected.imag, back.initial_state(2))
    torch.testing.assert_close(ours, sound, atol=1e-6, rtol=0)
    torch.testing.assert_close(state, after, atol=1e-6, rtol=0)
