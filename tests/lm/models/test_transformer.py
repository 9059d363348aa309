"""The transformer: what positions see, the cache, rotary positions."""

import pytest
import torch

from toneme.lm.models.transformer import Cache, Transformer, _rotate, angles


@pytest.fixture
def x():
    torch.manual_seed(0)
    return torch.randn(2, 7, 16)


def test_a_causal_one_does_not_look_ahead_and_the_other_does(x):
    changed = x.clone()
    changed[:, 4] = torch.randn(16)
    for causal in (True, False):
        model = Transformer(16, 2, 2, causal).eval()
        same = (model(x) - model(changed)).abs().amax((0, 2)) < 1e-4
        assert same.tolist() == [causal] * 4 + [False] * 3


@pytest.mark.parametrize("pieces", [[1] * 7, [3, 4], [2, 1, 4]])
def test_positions_in_pieces_equal_all_at_once(x, pieces):
    model, cache = Transformer(16, 2, 2).eval(), Cache()
    parts = [model(part, cache=cache) for part in x.split(pieces, dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), model(x))
    assert cache.length == 7


def test_positions_that_stand_for_nothing_change_nothing(x):
    model = Transformer(16, 2, 2, causal=False).eval()
    keep = torch.ones(2, 7, dtype=torch.bool)
    keep[0, :2] = False
    torch.testing.assert_close(model(x, keep)[0, 2:], model(x[:1, 2:])[0])
    assert bool(model(x, keep).isfinite().all())


def test_products_of_turned_pairs_depend_on_their_distance(x):
    one, two = x[:1, :1], x[:1, 1:2]
    turn = angles(0, 12, 16, x.device)
    products = [(_rotate(one, turn[i : i + 1]) * _rotate(two, turn[i + 3 : i + 4])).sum() for i in (0, 2, 8)]
    torch.testing.assert_close(products[0], products[1])
    torch.testing.assert_close(products[0], products[2])
