"""SnakeBeta at twice the rate in C: the layer in 64 bits, blocks, threads, refusals."""

import threading

import pytest
import torch
from torch import Tensor

from toneme.codecs.layers.alias_free import AliasFreeSnakeBeta, low_pass
from toneme.kernels import alias_free as module
from toneme.kernels import native
from toneme.kernels.alias_free import alias_free
from toneme.kernels.errors import ShapeError
from toneme.kernels.snake_rows import Bend

pytestmark = pytest.mark.skipif(native.library() is None, reason="no kernels in C here")


def example(batch: int, time: int, channels: int) -> tuple[Tensor, Bend, Tensor]:
    """The activation's argument, its parameters, and what torch's layers give for it in 64 bits."""
    torch.manual_seed(0)
    x, layer = torch.randn(batch, channels, time), AliasFreeSnakeBeta(channels)
    with torch.no_grad():
        layer.alpha.normal_(std=0.5)
        layer.beta.normal_(std=0.5)
        bend = Bend.of(layer.alpha.exp(), layer.beta.exp())
        return x.transpose(1, 2).contiguous(), bend, layer.double()(x.double()).transpose(1, 2)


@pytest.mark.parametrize("channels", [1, 8, 19])
@pytest.mark.parametrize("time", [1, 2, 3, 6, 7, 127, 128, 129, 300])
def test_every_length(time, channels):
    x, bend, exact = example(2, time, channels)
    found = alias_free(x, bend, low_pass())
    assert (found - exact).abs().max() < 1e-5  # sines of angles of up to twenty, which round to 1e-6, times sizes of up to four


def test_blocks_and_threads_give_the_same(monkeypatch):
    x, bend, _ = example(1, 1000, 19)
    whole = alias_free(x, bend, low_pass())
    monkeypatch.setattr(module, "LEAST_ROWS", 77)
    monkeypatch.setattr(module, "VALUES", 0)
    assert torch.equal(alias_free(x, bend, low_pass()), whole)


def test_threads_share_much(monkeypatch):
    """Both are at work before either ends."""
    if "OpenMP" not in torch.__config__.parallel_info():
        pytest.skip("one thread works here")
    x, bend, exact = example(1, 100_000, 9)
    both, plain, main, before = threading.Barrier(2, timeout=20), native.address, threading.get_ident(), torch.get_num_threads()
    monkeypatch.setattr(module, "VALUES", 50_000 * 9)
    monkeypatch.setattr(module, "address", lambda t: (threading.get_ident() == main or both.wait() >= 0) and plain(t))
    try:
        torch.set_num_threads(2)
        found = alias_free(x, bend, low_pass())
    finally:
        torch.set_num_threads(before)
    assert not both.broken
    assert (found - exact).abs().max() < 1e-5


def test_says_what_it_takes(monkeypatch):
    x = torch.zeros(4, 4)
    assert native.runs(x)
    assert not native.runs(x, x.double())
    monkeypatch.setattr(native, "library", lambda: None)
    assert not native.runs(x)


def test_other_shapes_are_refused():
    x, bend, _ = example(1, 5, 3)
    for given in (
        (x[0], bend, low_pass()),
        (x[:, :0], bend, low_pass()),
        (x, bend, low_pass()[1:]),
        (x, Bend(bend.alpha, bend.size[:2]), low_pass()),
    ):
        with pytest.raises(ShapeError):
            alias_free(*given)
