"""Filters of single channels over rows, in C and in PyTorch, against 64 bits."""

import pytest
import torch
from torch import Tensor

from toneme.kernels.depthwise import depthwise
from toneme.kernels.errors import ShapeError
from toneme.kernels.snake_rows import Bend


def exact(x: Tensor, filters: Tensor, bias: Tensor | None, dilation: int, bend: Bend | None) -> Tensor:
    weight, bias = filters.T[:, None].double(), None if bias is None else bias.double()
    y = torch.nn.functional.conv1d(x.T[None].double(), weight, bias, dilation=dilation, groups=x.shape[1])[0].T
    return y if bend is None else y + (y * bend.alpha).sin().square() * bend.size


@pytest.mark.parametrize("channels", [1, 8, 13, 40])
@pytest.mark.parametrize("rows", [1, 4, 6, 11])
@pytest.mark.parametrize(("taps", "dilation"), [(7, 1), (7, 9), (1, 1), (4, 3)])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("bends", [False, True])
def test_every_size(way, channels, rows, taps, dilation, biased, bends):
    x, filters = torch.randn(rows + (taps - 1) * dilation, channels), torch.randn(taps, channels)
    bias = torch.randn(channels) if biased else None
    bend = Bend.of(torch.rand(channels) + 0.5, torch.rand(channels) + 0.5) if bends else None
    depthwise(x, filters, bias, dilation, bend, out := torch.empty(rows, channels))
    assert torch.allclose(out.double(), exact(x, filters, bias, dilation, bend), atol=5e-6, rtol=1e-6)


def test_rows_of_a_block_are_those_of_the_whole(way):
    """Each is summed in one order, wherever its block begins."""
    x, filters, bend = torch.randn(60, 20), torch.randn(7, 20), Bend.of(torch.ones(20), torch.ones(20))
    whole, part = torch.empty(42, 20), torch.empty(17, 20)
    depthwise(x, filters, None, 3, bend, whole)
    depthwise(x[11:], filters, None, 3, bend, part)
    assert torch.equal(part, whole[11:28])


def test_nothing_beside_the_rows_is_written(way):
    whole = torch.full((9, 13), 7.0)
    depthwise(torch.randn(11, 13), torch.randn(7, 13), None, 1, None, whole[2:7])
    assert (whole[:2] == 7).all()
    assert (whole[7:] == 7).all()
    assert (whole[2:7] != 7).all()


def test_64_bits_take_pytorch():
    x, filters = torch.randn(20, 5, dtype=torch.float64), torch.randn(7, 5, dtype=torch.float64)
    depthwise(x, filters, None, 2, None, out := torch.empty(8, 5, dtype=torch.float64))
    assert torch.allclose(out, exact(x, filters, None, 2, None), atol=1e-14)


def test_other_shapes_are_refused(way):
    x, filters, out = torch.zeros(10, 3), torch.zeros(7, 3), torch.zeros(4, 3)
    for given in (
        (x[1:], filters, None, 1, None, out),
        (x, filters, None, 2, None, out),
        (x, filters, None, 0, None, out),
        (x, filters[:, :2], None, 1, None, out),
        (x, filters, torch.zeros(2), 1, None, out),
        (x[:, :1], filters, None, 1, None, out),
        (x, filters, None, 1, Bend(torch.ones(2), torch.ones(3)), out),
    ):
        with pytest.raises(ShapeError):
            depthwise(*given)
