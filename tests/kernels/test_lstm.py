"""The steps of an LSTM in C against PyTorch's, both in 64 bits and in 32."""

import threading

import pytest
import torch
from torch import Tensor, nn

from toneme.kernels import lstm, native
from toneme.kernels.errors import ShapeError

pytestmark = pytest.mark.skipif(native.library() is None, reason="no kernels in C here")


def layer_of(width: int, gain: float = 1) -> nn.LSTM:
    torch.manual_seed(width)
    layer = nn.LSTM(width, width, batch_first=True).requires_grad_(False)
    for weight in layer.parameters():
        weight.mul_(gain)
    return layer


def start_of(batch: int, width: int) -> tuple[Tensor, Tensor]:
    return torch.rand(batch, width) * 2 - 1, torch.randn(batch, width)


def run(layer: nn.LSTM, x: Tensor, start: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    weights, recurrent, *biases = layer.all_weights[0]
    gates = torch.nn.functional.linear(x, weights, biases[0] + biases[1])
    return lstm.steps(gates, lstm.pack(recurrent), *start)


def exact(layer: nn.LSTM, x: Tensor, start: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    double = nn.LSTM(layer.input_size, layer.hidden_size, batch_first=True).double().requires_grad_(False)
    double.load_state_dict(layer.state_dict())
    y, (_, cell) = double(x.double(), tuple(s.double()[None] for s in start))
    return y, cell[0]


@pytest.mark.parametrize("width", [1, 3, 8, 15, 16, 17, 24, 33, 100])
@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5, 6, 7, 13])
def test_odd_sizes(width: int, batch: int):
    layer, x, start = layer_of(width), torch.randn(batch, 5, width), start_of(batch, width)
    y, cell = run(layer, x, start)
    wanted, wanted_cell = exact(layer, x, start)
    torch.testing.assert_close(y.double(), wanted, atol=1e-6, rtol=0)
    torch.testing.assert_close(cell.double(), wanted_cell, atol=2e-6, rtol=0)


@pytest.mark.parametrize("batch", [1, 10])
def test_errors_are_no_more_than_pytorchs(batch: int):
    """At EnCodec's size; after 150 steps neither is further from 64 bits than rounding explains."""
    layer, x, start = layer_of(512), torch.randn(batch, 150, 512), start_of(batch, 512)
    wanted, _ = exact(layer, x, start)
    theirs = (layer(x, tuple(s[None] for s in start))[0] - wanted).abs().max()
    ours = (run(layer, x, start)[0] - wanted).abs().max()
    assert ours < 1e-6
    assert ours < 1.5 * theirs


def test_gates_far_from_zero():
    """Sigmoid and tanh at their ends, where exponentials overflow."""
    layer, x, start = layer_of(16, gain=100), torch.randn(2, 20, 16) * 10, start_of(2, 16)
    y, cell = run(layer, x, start)
    wanted, wanted_cell = exact(layer, x, start)
    torch.testing.assert_close(y.double(), wanted, atol=1e-4, rtol=0)  # rounding of gates in the hundreds
    torch.testing.assert_close(cell.double(), wanted_cell, atol=1e-3, rtol=0)
    gates = torch.full((1, 1, 64), -3e38)
    y, cell = lstm.steps(gates, torch.zeros(1, 4, 16, 16), torch.zeros(1, 16), torch.ones(1, 16))
    assert (y == 0).all()
    assert (cell == 0).all()


def test_what_is_no_number_stays_none():
    layer, x, start = layer_of(16), torch.randn(2, 4, 16), start_of(2, 16)
    x[0, 2] = torch.nan
    y, _ = run(layer, x, start)
    assert y[0, 2:].isnan().all()
    assert y[0, :2].isfinite().all()
    assert y[1].isfinite().all()


@pytest.mark.parametrize("sizes", [[1] * 9, [4, 0, 5], [8, 1]])
def test_cuts_in_time_change_nothing(sizes: list[int]):
    layer, gates, (hidden, cell) = layer_of(40), torch.randn(3, 9, 160), start_of(3, 40)
    packed, pieces, state = lstm.pack(layer.weight_hh_l0), [], (hidden, cell)
    for piece in gates.split(sizes, dim=1):
        y, after = lstm.steps(piece.contiguous(), packed, *state)
        state = (y[:, -1].contiguous() if piece.shape[1] else state[0], after)
        pieces.append(y)
    whole, last = lstm.steps(gates, packed, hidden, cell)
    assert torch.equal(torch.cat(pieces, dim=1), whole)
    assert torch.equal(state[1], last)


@pytest.mark.parametrize("batch", [1, 3])
def test_threads_change_nothing(batch: int, monkeypatch):
    """Two threads are in the call at once: each waits for the other before it begins."""
    layer, gates, start = layer_of(300), torch.randn(batch, 300, 1200), start_of(batch, 300)
    if "OpenMP" not in torch.__config__.parallel_info():
        pytest.skip("one thread works here")
    packed, before = lstm.pack(layer.weight_hh_l0), torch.get_num_threads()
    both, plain = threading.Barrier(2, timeout=20), lstm.address
    try:
        torch.set_num_threads(1)
        alone = lstm.steps(gates, packed, *start)
        monkeypatch.setattr(lstm, "address", lambda t: both.wait() >= 0 and plain(t) if t.dtype == torch.int64 else plain(t))
        torch.set_num_threads(2)
        shared = lstm.steps(gates, packed, *start)
    finally:
        torch.set_num_threads(before)
    for one, two in zip(alone, shared, strict=True):
        assert torch.equal(one, two)


def test_the_start_is_not_written_over():
    layer, start = layer_of(8), start_of(1, 8)
    before = [s.clone() for s in start]
    run(layer, torch.randn(1, 3, 8), start)
    assert all(torch.equal(a, b) for a, b in zip(start, before, strict=True))


def test_refuses_other_shapes():
    packed, state = lstm.pack(torch.zeros(32, 8)), torch.zeros(1, 8)
    with pytest.raises(ShapeError, match=r"\[4 \* H, H\]"):
        lstm.pack(torch.zeros(32, 9))
    for inputs, hidden in (
        (torch.zeros(1, 2, 31), state),
        (torch.zeros(2, 2, 32), state),
        (torch.zeros(1, 2, 32), state[:, 1:]),
    ):
        with pytest.raises(ShapeError, match="inputs are"):
            lstm.steps(inputs, packed, hidden, state)
