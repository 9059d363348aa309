"""Fourier transforms by products equal torch's, and overlap-add without writing in place equals the layers' own."""

import pytest
import torch

from toneme.codecs.layers import stft
from toneme.export.fourier import InverseRealFourier, RealFourier, factors, overlap_add


@pytest.mark.parametrize("n", [8, 10, 14, 960, 1280, 2400])
def test_transforms_are_as_exact_as_fast_ones(n):
    x = torch.randn(2, 3, n, generator=torch.Generator().manual_seed(n))
    exact = torch.fft.rfft(x.double())
    fourier = RealFourier(n)
    real, imag = fourier(x).unbind(3)
    tiles = torch.complex(real, imag)
    expected, there = fourier.tiled(exact), fourier.tiled(torch.ones(n // 2 + 1)).bool()
    assert int(there.sum()) == n // 2 + 1
    error = (tiles - expected)[..., there].abs().max()
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
