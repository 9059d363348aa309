"""Convolutions of spectrograms are PyTorch's own, their gradients too."""

import pytest
import torch
from torch.nn import functional as F

from toneme.recipes.discriminators.convolution import INNERMOST, SpectralConv2d

SHAPES = [  # channels, width, kernel, stride, dilation, frames, bins
    (2, 5, (3, 9), 1, 1, 7, 33),
    (4, 5, (3, 9), 2, 1, 6, 33),
    (4, 5, (3, 9), 2, 2, 7, 34),
    (4, 5, (3, 9), 2, 4, 3, 17),
    (4, 3, (5, 7), 3, 2, 9, 20),
    (4, 5, (3, 9), 1, 3, 8, 12),
    (4, 1, (3, 3), 1, 1, 5, 9),
    (3, 2, (3, 9), 2, 2, 1, 1),
    (3, 2, (3, 9), 2, 4, 2, 5),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_and_its_gradients_are_those_of_pytorch(shape):
    channels, width, kernel, stride, dilation, frames, bins = shape
    torch.manual_seed(0)
    layer = SpectralConv2d(channels, width, kernel, stride, dilation).double()
    maps = torch.randn(2, channels, frames, bins, dtype=torch.float64, requires_grad=True)
    inputs = maps, layer.weight, layer.bias
    theirs = F.conv2d(*inputs, layer.stride, layer.padding, layer.dilation)
    ours = layer(maps)
    gradient = torch.randn_like(theirs)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    for mine, other in zip(
        torch.autograd.grad(ours, inputs, gradient), torch.autograd.grad(theirs, inputs, gradient), strict=True
    ):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-11)  # sums of some hundred products of about 1


def test_only_what_is_asked_for_is_computed():
    layer = SpectralConv2d(2, 3, (3, 9), 2, 2).requires_grad_(False)
    maps = torch.randn(1, 2, 4, 16, requires_grad=True)
    layer(maps).sum().backward()
    assert maps.grad is not None
    assert layer.weight.grad is None
    layer.requires_grad_(True)
    layer(maps.detach()).sum().backward()
    assert layer.weight.grad is not None
    assert layer.bias.grad is not None


def test_maps_lie_with_channels_innermost():
    assert SpectralConv2d(2, 3, (3, 9))(torch.randn(2, 2, 4, 16)).is_contiguous(memory_format=INNERMOST)


def test_lower_precision_is_left_to_pytorch():
    layer, maps = SpectralConv2d(2, 3, (3, 9), 2, 2), torch.randn(1, 2, 4, 16)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(maps)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), layer(maps), rtol=0.02, atol=0.02)  # eight bits of mantissa
