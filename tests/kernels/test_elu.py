"""ELU in one pass, and in PyTorch's five, against 64 bits."""

import threading

import pytest
import torch
from torch import Tensor

from toneme.kernels import native
from toneme.kernels.elu import elu
from toneme.kernels.errors import ShapeError

SPECIAL = [0.0, -0.0, 1e-30, -1e-30, -1e-45, -87.4, -88.8, -126.5, -1e4, -3.4e38, 3.4e38, torch.inf, -torch.inf]


def written(x: Tensor) -> Tensor:
    elu(x, out := torch.empty_like(x))
    return out


def error(x: Tensor, y: Tensor) -> float:
    return (y.double() - torch.where(x > 0, x.double(), x.double().expm1())).abs().max().item()


@pytest.mark.parametrize("size", [1, 7, 8, 9, 15, 16, 17, 31, 33])
def test_few_values(way, size):
    x = torch.linspace(-3, 1, size)[None, None]
    assert error(x, written(x)) < 1.2e-7


def test_every_magnitude(way):
    """e^x - 1 rounds to 6e-8 at worst, and the exponential before it as much."""
    x = torch.cat([-torch.logspace(-40, 2.5, 2_000_000), torch.linspace(-20, 20, 2_000_000)])[None, None]
    assert error(x, written(x)) < 1.2e-7


def test_what_lies_above_zero_stays_as_it_is(way):
    x = torch.logspace(-37, 38, 1000)[None, None]
    assert torch.equal(written(x), x)


def test_infinities_and_what_is_no_number(way):
    x = torch.tensor(SPECIAL)[None, None]
    y = written(x)
    assert torch.equal(y[x > 0], x[x > 0])
    assert ((y - x.double().expm1())[x <= 0].abs() < 1.2e-7).all()
    assert y[0, 0, -1] == -1
    mixed = written(torch.tensor([1.0, torch.nan, -1.0] * 9)[None, None])[0, 0].view(9, 3)
    assert mixed[:, 1].isnan().all()
    assert torch.isfinite(mixed[:, ::2]).all()


def test_numbers_near_zero_keep_their_size_in_c():
    if native.library() is None:
        pytest.skip("no kernels in C here")
    x = -torch.logspace(-30, -1, 10_000)[None, None]
    wanted = x.double().expm1()
    assert ((written(x) - wanted) / wanted).abs().max() < 3e-7


@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.parametrize("shape", [(1, 5, 3), (3, 4, 9), (2, 1, 17), (3, 17, 1), (0, 3, 4), (2, 0, 3)])
def test_both_orders_of_memory(way, shape, time_major):
    x = torch.randn(shape)
    x = x.transpose(1, 2).contiguous().transpose(1, 2) if time_major else x
    y = written(x)
    assert y.stride() == x.stride()
    assert torch.allclose(y, torch.nn.functional.elu(x), atol=2e-7, rtol=0)


def test_into_the_middle_of_padded_memory(way):
    """As convolutions call it: nothing beside the middle is written, and items lie further apart than in x."""
    x = torch.randn(3, 20, 6).transpose(1, 2)
    whole = torch.full((3, 25, 6), 7.0).transpose(1, 2)
    elu(x, whole[..., 2:22])
    assert torch.allclose(whole[..., 2:22], torch.nn.functional.elu(x), atol=2e-7, rtol=0)
    assert (whole[..., :2] == 7).all()
    assert (whole[..., 22:] == 7).all()


@pytest.mark.parametrize("cut", [slice(None), slice(1, None, 2)])
def test_any_other_order_of_memory(way, cut):
    x = torch.randn(2, 6, 31)[..., cut]
    out = torch.empty(2, 31, 6).transpose(1, 2)[..., cut]
    elu(x, out)
    assert torch.allclose(out, torch.nn.functional.elu(x), atol=2e-7, rtol=0)


def test_in_place(way):
    x = torch.randn(2, 33, 5)
    y = x.clone()
    elu(y, y)
    assert torch.allclose(y, torch.nn.functional.elu(x), atol=2e-7, rtol=0)


def test_64_bits_take_pytorch():
    x = torch.randn(1, 3, 40, dtype=torch.float64)
    assert error(x, written(x)) < 1e-15


def test_threads_share_much(monkeypatch):
    """Each of two takes half of every item: both are at work before either ends."""
    if native.library() is None or "OpenMP" not in torch.__config__.parallel_info():
        pytest.skip("one thread works here")
    both, plain = threading.Barrier(2, timeout=20), native.address
    monkeypatch.setattr(native, "address", lambda t: both.wait() >= 0 and plain(t))
    before = torch.get_num_threads()
    x = torch.randn(2, 3, 600_001)
    try:
        torch.set_num_threads(2)
        y = written(x)
    finally:
        torch.set_num_threads(before)
    assert torch.allclose(y, torch.nn.functional.elu(x), atol=2e-7, rtol=0)


@pytest.mark.parametrize(("x", "out"), [((2, 3), (2, 3)), ((1, 2, 3), (1, 3, 2))])
def test_refuses_other_shapes(way, x, out):
    with pytest.raises(ShapeError, match="memory of that shape"):
        elu(torch.zeros(x), torch.zeros(out))
