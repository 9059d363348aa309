"""Snake over rows, in C and in PyTorch's four passes, against 64 bits."""

import pytest
import torch
from torch import Tensor

from toneme.kernels.errors import ShapeError
from toneme.kernels.snake_rows import Bend, snake_rows

FAR = 65536.0  # the angle from which C takes the library's sine
LARGE = 2.0**120


def written(x: Tensor, bend: Bend) -> Tensor:
    snake_rows(x, bend, out := torch.empty_like(x))
    return out


def exact(x: Tensor, bend: Bend) -> Tensor:
    """The formula in 64 bits, of the angle in 32: that rounding is the formula's own."""
    return x.double() + (x * bend.alpha).double().sin().square() * bend.size.double()


@pytest.mark.parametrize("channels", [1, 7, 8, 9, 16, 77])
@pytest.mark.parametrize("rows", [0, 1, 5])
def test_any_number_of_rows_and_channels(way, rows, channels):
    bend = Bend.of(torch.rand(channels) + 0.1, torch.rand(channels) + 0.1)
    x = torch.randn(rows, channels)
    assert torch.allclose(written(x, bend).double(), exact(x, bend), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("most", [1.0, 30.0, 3000.0, FAR, 1e9, 1e25])
def test_the_sine_of_every_magnitude(way, most):
    """Beside so large a size nothing is left of x. The sine is within 1.2e-7, its square within twice that and a rounding."""
    x = torch.linspace(-1, 1, 800_000).view(-1, 8) * most
    wave = written(x, Bend(torch.ones(8), torch.full((8,), LARGE))).double() / LARGE
    assert (wave - x.double().sin().square()).abs().max() < 2.7e-7


def test_angles_near_multiples_of_pi(way):
    """Where the sine is near zero, what the multiple's rounding leaves would show most."""
    turns = torch.arange(0, FAR / torch.pi, dtype=torch.float64)
    x = (turns * torch.pi).float()[:, None].repeat(1, 8)
    wave = written(x, Bend(torch.ones(8), torch.full((8,), LARGE))).double() / LARGE
    assert (wave - x.double().sin().square()).abs().max() < 1e-9


def test_small_angles_keep_their_size(way):
    x = torch.logspace(-15, -1, 8000).view(-1, 8)
    bend = Bend(torch.ones(8), torch.full((8,), LARGE))
    found, wanted = written(x, bend).double(), exact(x, bend)
    assert ((found - wanted) / wanted).abs().max() < 5e-7


def test_infinities_and_what_is_no_number_stay_in_their_place(way):
    x = torch.zeros(3, 11)
    x[1, 2], x[1, 9], x[2, 10] = torch.inf, torch.nan, -torch.inf
    y = written(x, Bend.of(torch.ones(11), torch.ones(11)))
    assert torch.equal(y.isnan(), ~x.isfinite())
    assert (y[x.isfinite()] == 0).all()


def test_a_frequency_of_zero_bends_nothing(way):
    x, alpha = torch.randn(4, 9), torch.zeros(9)
    assert torch.equal(written(x, Bend.of(alpha, alpha)), x)


def test_in_place_and_nothing_beside_it(way):
    bend = Bend.of(torch.rand(13) + 0.5, torch.rand(13) + 0.5)
    whole = torch.randn(9, 13)
    before = whole.clone()
    snake_rows(whole[2:7], bend, whole[2:7])
    assert torch.equal(whole[2:7], written(before[2:7], bend))
    assert torch.equal(whole[:2], before[:2])
    assert torch.equal(whole[7:], before[7:])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_c_does_not_read_takes_pytorch(way, dtype):
    bend = Bend.of(torch.rand(6, dtype=dtype) + 0.5, torch.rand(6, dtype=dtype) + 0.5)
    x = torch.randn(6, 20, dtype=dtype).T
    assert torch.allclose(written(x, bend).double(), exact(x, bend), atol=1e-6, rtol=1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_a_trace_sees_the_operations(way):
    bend = Bend.of(torch.ones(3), torch.ones(3))
    with torch.no_grad():
        traced = torch.jit.trace(lambda x: written(x, bend), torch.zeros(2, 3), check_trace=False)
    x = torch.randn(5, 3)
    assert torch.allclose(traced(x), written(x, bend), atol=1e-6)


def test_other_shapes_are_refused(way):
    bend = Bend.of(torch.ones(3), torch.ones(3))
    for x, given, out in (
        (torch.zeros(4, 3), bend, torch.zeros(3, 3)),
        (torch.zeros(3), bend, torch.zeros(3)),
        (torch.zeros(4, 2), bend, torch.zeros(4, 2)),
        (torch.zeros(4, 3), Bend(bend.alpha, torch.ones(1)), torch.zeros(4, 3)),
    ):
        with pytest.raises(ShapeError):
            snake_rows(x, given, out)
