"""Normalization over rows and channels, in C and in PyTorch, against 64 bits."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from toneme.kernels.errors import ShapeError
from toneme.kernels.group_norm import group_norm


def exact(x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    return F.layer_norm(x.double(), x.shape, eps=1e-5) * gain.double() + bias.double()


@pytest.mark.parametrize(("rows", "channels"), [(1, 1), (1, 7), (5, 8), (3, 13), (41, 32), (4097, 17)])
@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_every_size(way, rows, channels, offset):
    """Beside an offset of 30 deviations the input itself is rounded to 2e-6 of one."""
    x, gain, bias = torch.randn(rows, channels) + offset, torch.randn(channels), torch.randn(channels)
    y = x.clone()
    group_norm(y, gain, bias, 1e-5)
    assert torch.allclose(y.double(), exact(x, gain, bias), atol=1e-5 if offset == 0 else 2e-4)


def test_a_constant_has_no_deviation(way):
    x = torch.full((50, 3), 0.1)
    group_norm(x, torch.ones(3), torch.tensor([1.0, 2.0, 3.0]), 1e-5)
    assert torch.allclose(x, torch.tensor([1.0, 2.0, 3.0]).expand(50, 3), atol=1e-4)


def test_the_number_of_threads_does_not_matter():
    results, threads = [], torch.get_num_threads()
    for count in (1, 2):
        torch.set_num_threads(count)
        x = torch.randn(5000, 32, generator=torch.Generator().manual_seed(0))
        group_norm(x, torch.ones(32), torch.zeros(32), 1e-5)
        results.append(x)
    torch.set_num_threads(threads)
    assert torch.equal(*results)


def test_what_is_no_number_makes_all_of_it_so(way):
    x = torch.randn(20, 4)
    x[3, 2] = torch.nan
    group_norm(x, torch.ones(4), torch.zeros(4), 1e-5)
    assert x.isnan().all()


def test_nothing_takes_nothing(way):
    group_norm(torch.zeros(0, 4), torch.ones(4), torch.zeros(4), 1e-5)


def test_other_shapes_are_refused(way):
    for shapes in (((4, 3), (4,), (4,)), ((4, 3), (3,), (1,)), ((2, 4, 3), (3,), (3,))):
        with pytest.raises(ShapeError, match="a gain and a bias"):
            group_norm(*map(torch.zeros, shapes), 1e-5)
