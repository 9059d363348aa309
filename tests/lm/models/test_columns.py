"""Models that write columns: their loss, what they learn, and reading column by column."""

import math

import pytest
import torch

from .made import SIZES, batch, make_model, teach

KINDS = ["delay", "depth"]


@pytest.mark.parametrize("kind", KINDS)
def test_reading_column_by_column_gives_the_logits_of_the_whole(kind):
    model = make_model(kind).eval()
    codes, lengths, ended, told = batch(1)
    sequence, _ = model.targets(codes, lengths, ended)
    told = ["one", None]  # prefixes of two lengths
    whole, reading = model(sequence, told), model.begin(told)
    for column in range(sequence.shape[-1] - 1):
        hidden, seen = reading.push(sequence[..., column : column + 1]), []

        def choose(row, logits, seen=seen, column=column):
            seen.append(logits)
            return sequence[:, row, column + 1]

        assert torch.equal(reading.choose(hidden, choose), sequence[..., column + 1])
        for row, logits in enumerate(seen):
            torch.testing.assert_close(logits, whole[row][:, column], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_depend_on_what_stands_before_alone(kind):
    model = make_model(kind).eval()
    sequence, _ = model.targets(*batch(1)[:3])
    changed = sequence.clone()
    changed[:, 1, 6] = (changed[:, 1, 6] + 1) % SIZES[1]
    differs = [
        (a - b).abs().amax((0, 2)) > 1e-7
        for a, b in zip(model(sequence, [None, None]), model(changed, [None, None]), strict=True)
    ]
    for row, own in enumerate(differs):  # logits of column c stand at c - 1
        sees_own_column = kind == "depth" and row > 1
        assert not own[:5].any()
        assert bool(own[5]) == sees_own_column
        assert bool(own[6:].any())


def test_ends_are_learned_where_a_recording_ended():
    model = make_model("delay")
    codes, lengths, ended, _ = batch(1)
    ended[0] = False
    sequence, mask = model.targets(codes, lengths, ended)
    first = model.pattern.initial
    assert mask[:, 0].sum(1).tolist() == [12, 10]
    assert int(sequence[1, 0, first + 9]) == SIZES[0]
    assert mask[:, 1].sum(1).tolist() == [12, 9]
    assert bool((sequence[mask] < torch.tensor(8)).sum() == mask.sum() - 1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_loss_is_that_of_guessing_and_falls(kind):
    losses = teach(make_model(kind), 60)
    guess = (21 * (math.log(9) + math.log(9) + math.log(7)) + 2 * math.log(9)) / 65
    assert losses[0] == pytest.approx(guess, abs=0.4)
    assert losses[-1] < 0.25 * losses[0]
