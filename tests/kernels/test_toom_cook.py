"""Tiles of a convolution of seven taps in C, against 64 bits and against the module whose tables the factors are."""

import pytest
import torch
from torch import Tensor

from toneme.codecs.layers import toom_cook as tables
from toneme.kernels import native
from toneme.kernels.errors import ShapeError
from toneme.kernels.snake_rows import Bend
from toneme.kernels.toom_cook import convolve, enter, leave

pytestmark = pytest.mark.skipif(native.library() is None, reason="no kernels in C here")


@pytest.mark.parametrize("width", [1, 8, 21])
@pytest.mark.parametrize("tiles", [1, 2, 5])
def test_what_enters_has_the_factors_of_the_table(width, tiles):
    x = torch.randn(tiles + 1, 4, width)
    rows = x.view(-1, width).double()
    exact = [torch.tensor(tables.ENTER, dtype=torch.float64) @ rows[4 * t : 4 * t + 7] for t in range(tiles)]
    assert torch.allclose(enter(x).double(), torch.stack(exact, 1), atol=3e-6, rtol=0)  # six sums of numbers of up to ten


@pytest.mark.parametrize("channels", [1, 8, 21])
@pytest.mark.parametrize("dilation", [1, 3])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("bends", [False, True])
def test_what_leaves_has_the_factors_of_the_table(channels, dilation, biased, bends):
    products = torch.randn(7, 2 * dilation, channels)
    bias = torch.randn(channels) if biased else None
    bend = Bend.of(torch.rand(channels) + 0.5, torch.rand(channels) + 0.5) if bends else None
    exact = torch.einsum("in,ntc->tic", torch.tensor(tables.LEAVE, dtype=torch.float64), products.view(7, 2, -1).double())
    exact = exact.reshape(-1, channels) + (0 if bias is None else bias)
    exact = exact if bend is None else exact + (exact * bend.alpha).sin().square() * bend.size
    for rows in range(8 * dilation + 1):
        memory = torch.full((8 * dilation + 1, channels), 7.0)
        leave(products, dilation, memory[:rows], bias, bend)
        # numbers of up to fifty, whose rounding Snake may double
        assert torch.allclose(memory[:rows].double(), exact[:rows], atol=3e-5, rtol=0)
        assert (memory[rows:] == 7).all()


def example(dilation: int, tiles: int, width: int = 5, out: int = 9) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x, weight = torch.randn((tiles + 2) * 4 * dilation, width), torch.randn(out, width, 7)
    exact = torch.nn.functional.conv1d(x.T[None].double(), weight.double(), dilation=dilation)[0].T
    return x.view(tiles + 2, 4, -1), *tables.pack(weight), exact[: tiles * 4 * dilation]


@pytest.mark.parametrize("dilation", [1, 3, 9])
@pytest.mark.parametrize("tiles", [0, 1, 4])
def test_tiles_are_the_convolution(dilation, tiles):
    x, near, far, exact = example(dilation, tiles)
    convolve(x, near, far, dilation, found := torch.empty(exact.shape))
    assert torch.allclose(found.double(), exact, atol=2e-5, rtol=0)  # 5e-7 of numbers of up to thirty


def test_both_ways_of_the_layer_agree(monkeypatch):
    """Sums in another order: 5e-7 of numbers of up to sixty."""
    x, weight, bias = torch.randn(tables.rows_for(50, 3), 24), torch.randn(16, 24, 7), torch.randn(16)
    bend = Bend.of(torch.rand(16) + 0.5, torch.rand(16) + 0.5)
    arguments, written = (tables.pack(weight), bias, 3, x), torch.empty(2, 2, 50, 16)

    def write(to: Tensor) -> None:
        tables.write(*arguments, None, to[0])
        tables.write(*arguments, bend, to[1])

    write(written[0])
    monkeypatch.setattr(native, "library", lambda: None)
    write(written[1])
    assert torch.allclose(*written[:, 0], atol=3e-5, rtol=0)
    assert torch.allclose(*written[:, 1], atol=9e-5, rtol=0)
    assert torch.equal(tables.convolve(*arguments, 50), written[1, 0])


def test_says_what_it_takes(monkeypatch):
    x = torch.zeros(4, 4)
    assert native.runs(x, None)
    assert not native.runs(x.double())
    assert not native.runs(x[:, :2])
    monkeypatch.setattr(native, "library", lambda: None)
    assert not native.runs(x)


def test_other_shapes_are_refused():
    (x, near, far, _), out = example(3, 2), torch.zeros(24, 9)
    for given in (
        (x[:1], near, far, 3, out),
        (x[:, :3], near, far, 3, out),
        (x, near, far, 2, out),
        (x, near[:6], far, 3, out),
        (x, near, far[:5], 3, out),
        (x, near, far, 3, torch.zeros(25, 9)),
        (x, near, far, 3, out[:, :8]),
        (x, near, far, 3, out, torch.zeros(5)),
        (x, near, far, 3, out, None, Bend(torch.zeros(9), torch.zeros(1))),
    ):
        with pytest.raises(ShapeError):
            convolve(*given)
