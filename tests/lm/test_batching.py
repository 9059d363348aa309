"""Recordings in batches: the cheapest of all ways to part them, each in one, none beyond the limit."""

import random

import pytest

from toneme.lm.batching import in_batches


def cost(lengths, parts, each):
    """Return what the docstring says that a parting costs."""
    return sum(len(part) * max(lengths[i] for i in part) + each for part in parts)


def all_partings(lengths, most):
    """Yield every way to cut the items into neighbours that may go together."""
    if not lengths:
        yield []
    for first in range(1, len(lengths) + 1):
        if first == 1 or first * lengths[first - 1] <= most:
            for rest in all_partings(lengths[first:], most):
                yield [range(first), *(range(part.start + first, part.stop + first) for part in rest)]


@pytest.mark.parametrize("seed", range(40))
def test_no_parting_costs_less(seed):
    chance = random.Random(seed)
    lengths = sorted(chance.choice([0, 1, 7, chance.randint(1, 50)]) for _ in range(chance.randint(1, 9)))
    most, each = chance.uniform(10, 200), chance.choice([0, 1, 10, 100])
    parts = in_batches(lengths, most, each)
    assert [i for part in parts for i in part] == list(range(len(lengths)))
    assert all(len(part) == 1 or len(part) * lengths[part.stop - 1] <= most for part in parts)
    assert cost(lengths, parts, each) == pytest.approx(min(cost(lengths, ways, each) for ways in all_partings(lengths, most)))


def test_nothing_gives_no_batch_and_a_long_item_one_of_its_own():
    assert in_batches([], 10, 1) == []
    assert in_batches([4, 4, 30], 10, 1) == [range(2), range(2, 3)]


def test_few_short_items_do_not_make_many_long():
    """Forty recordings of 0.25 to 1 s: two batches, as full as they may be, would be a third padding."""
    lengths = [6000 + 450 * i for i in range(40)]
    parts = in_batches(lengths, 480000, 24000)
    samples = cost(lengths, parts, 0)
    assert samples < 1.17 * sum(lengths)
    assert len(parts) <= 5
