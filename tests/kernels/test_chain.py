"""Chains of products over tiles, against the same by PyTorch in 64 bits."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from toneme.kernels import native
from toneme.kernels.chain import Chain, Rows, Step, View, pack
from toneme.kernels.errors import ShapeError

pytestmark = pytest.mark.skipif(
    native.products() is None, reason="needs the C kernels, and a processor whose vectors are theirs"
)


def one(depth: int, columns: int, **options) -> tuple[Chain, Tensor]:
    """A chain of one product, and its matrix."""
    given, result = Rows(depth, 1), Rows(columns, 1)
    matrix = torch.randn(depth, columns)
    step = Step(1, columns, [View(given, depth)], pack(matrix), out=result, **options)
    return Chain(given, result, 5, [step]), matrix


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 11, 12, 17])
@pytest.mark.parametrize(
    ("depth", "columns"), [(1, 1), (3, 8), (7, 9), (16, 15), (5, 16), (20, 17), (33, 24), (8, 31), (9, 48)]
)
def test_every_size(rows, depth, columns):
    x, bias = torch.randn(rows, depth), torch.randn(columns)
    chain, matrix = one(depth, columns, bias=bias)
    y, states = chain.run(x, rows, [])
    assert torch.allclose(y.double(), x.double() @ matrix.double() + bias, atol=1e-5)
    assert not states


def test_a_row_is_summed_alike_wherever_it_stands():
    chain, _ = one(40, 20)
    x = torch.randn(29, 40)
    whole = chain.run(x, 29, [])[0]
    for first in range(7):
        assert torch.equal(chain.run(x[first:].contiguous(), 29 - first, [])[0], whole[first:])


def causal(tile: int, stride: int = 2) -> tuple[Chain, list[Tensor]]:
    """ELU, a convolution of 3 (dilation 2) onto what came in, ELU, a strided convolution; and the weights."""
    given, result, width = Rows(5, stride), Rows(9, 1), 5
    first, second = torch.randn(3, width, width), torch.randn(2 * stride * width, 9)
    start, between, plain = Rows(width, stride, 4), Rows(width, stride, stride), Rows(width, stride)
    taps = [View(start, width, 2 * j - 4) for j in range(3)]
    steps = [
        Step(stride, width, [], None, onto=given, active=start),
        Step(stride, width, taps, pack(first.flatten(0, 1)), onto=given, out=plain, active=between),
        Step(1, 9, [View(between, 2 * stride * width, -stride, stride)], pack(second), out=result),
    ]
    return Chain(given, result, tile, steps), [first, second]


def exact(x: Tensor, weights: list[Tensor], front: int | None, stride: int = 2) -> Tensor:
    """The same of x [rows, 5] in 64 bits: zeros in front, or what is mirrored."""

    def padded(x: Tensor, count: int) -> Tensor:
        return torch.cat([x[1 : count + 1].flip(0) if front is None else x.new_zeros(count, x.shape[1]), x])

    first, second = (w.double() for w in weights)
    x = x.double()
    y = x + F.conv1d(padded(F.elu(x), 4).T[None], first.permute(2, 1, 0), dilation=2)[0].T
    rows = padded(F.elu(y), stride)
    return torch.stack([rows[t : t + 2 * stride].flatten() @ second for t in range(0, len(x), stride)])


@pytest.mark.parametrize("tile", [3, 4, 50])
@pytest.mark.parametrize("units", [3, 7, 12])
@pytest.mark.parametrize("mirrored", [False, True])
def test_what_was_before_is_kept_from_tile_to_tile(tile, units, mirrored):
    chain, weights = causal(tile)
    x = torch.randn(units * 2, 5)
    states = [torch.zeros(0 if mirrored else rows.kept, 5) for rows in chain.kept]
    y, _ = chain.run(x, units, states)
    assert torch.allclose(y.double(), exact(x, weights, None if mirrored else 0), atol=2e-5)


@pytest.mark.parametrize("cut", [1, 4, 6])
def test_calls_go_on_from_the_state_of_the_last(cut):
    chain, _ = causal(3)
    x, start = torch.randn(20, 5), [torch.zeros(rows.kept, 5) for rows in chain.kept]
    whole, end = chain.run(x, 10, start)
    before, states = chain.run(x[: 2 * cut], cut, start)
    after, last = chain.run(x[2 * cut :].contiguous(), 10 - cut, states)
    assert torch.equal(torch.cat([before, after]), whole)
    assert all(torch.equal(a, b) for a, b in zip(last, end, strict=True))


def test_rows_given_may_have_others_in_front():
    """Windows of three that overlap, as those of a convolution of audio do."""
    given, result = Rows(1, 4, 2), Rows(3, 4)
    matrix = torch.randn(3, 3)
    chain = Chain(given, result, 2, [Step(4, 3, [View(given, 3, -2)], pack(matrix), out=result)])
    x = torch.randn(2 + 20, 1)
    wanted = x.double().unfold(0, 3, 1)[:, 0] @ matrix.double()
    assert torch.allclose(chain.run(x, 5, [])[0].double(), wanted, atol=1e-5)


def test_what_is_no_number_stays_within_what_sees_it():
    chain, _ = causal(3)
    x = torch.randn(20, 5)
    x[10, 2] = torch.nan
    y, _ = chain.run(x, 10, [torch.zeros(rows.kept, 5) for rows in chain.kept])
    assert torch.isfinite(y[:5]).all()
    assert y[5].isnan().all()
    assert torch.isfinite(y[9:]).all()


def test_no_units_make_no_rows():
    chain, _ = causal(3)
    states = [torch.randn(rows.kept, 5) for rows in chain.kept]
    y, after = chain.run(torch.zeros(0, 5), 0, states)
    assert y.shape == (0, 9)
    assert all(torch.equal(a, b) for a, b in zip(after, states, strict=True))


def test_other_shapes_are_refused():
    chain, _ = causal(3)
    zeros = [torch.zeros(rows.kept, 5) for rows in chain.kept]
    for x, units, states in (
        (torch.zeros(20, 4), 10, zeros),
        (torch.zeros(19, 5), 10, zeros),
        (torch.zeros(20, 5), 10, zeros[:1]),
        (torch.zeros(20, 5), 10, [zeros[0], torch.zeros(1, 5)]),
        (torch.zeros(4, 5), 2, [torch.zeros(0, 5), zeros[1]]),  # four rows, of which none mirrors the fifth
    ):
        with pytest.raises(ShapeError, match="units of"):
            chain.run(x, units, states)


def test_64_bits_are_refused():
    chain, _ = one(3, 3)
    with pytest.raises(ShapeError, match="32 bits"):
        chain.run(torch.zeros(4, 3, dtype=torch.float64), 4, [])
