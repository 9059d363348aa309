"""The transform that losses and discriminators share: PyTorch's values, and gradients by a shorter way."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from toneme.recipes.losses.spectrum import _Spectrum, spectrum


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("window", "hop", "n_fft"), [(256, 64, 256), (100, 37, 128), (51, 51, 51), (64, 80, 64), (600, 120, 1024)]
)
def test_values_and_gradients_are_those_of_torch_stft(window, hop, n_fft):
    taper, upstream = torch.hann_window(window), None
    found = []
    for transform in (
        lambda x: spectrum(x, hop, taper, n_fft),
        lambda x: torch.stft(x, n_fft, hop, window, taper, center=True, return_complex=True),
    ):
        x = noise(3, 2400).requires_grad_()
        bins = transform(x)
        upstream = noise(*bins.shape, 2) if upstream is None else upstream
        (gradient,) = torch.autograd.grad(torch.view_as_real(bins), x, upstream)
        found.append((bins.detach(), gradient))
    for ours, theirs in zip(*found, strict=True):  # in 32 bits both sum some thousand products, in other orders
        assert (ours - theirs).abs().max() <= 2e-6 * theirs.abs().max()


@pytest.mark.parametrize("window", [8, 7])
def test_gradients_of_first_and_second_order_are_those_of_differences(window):
    taper = torch.hann_window(window, dtype=torch.float64)
    x = noise(2, 31).double().requires_grad_()
    assert gradcheck(lambda x: _Spectrum.apply(x, taper, 3), x)
    assert gradgradcheck(lambda x: _Spectrum.apply(x, taper, 3), x)


def test_samples_that_no_window_holds_have_no_gradient():
    x = noise(1, 30).requires_grad_()
    spectrum(x, 8, torch.hann_window(8), center=False).abs().sum().backward()
    assert x.grad is not None
    assert (x.grad[:, 24:] == 0).all()
    assert x.grad[:, :24].abs().sum() > 0
