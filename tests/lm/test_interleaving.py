"""Text and audio in turns."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from toneme.codecs.errors import ShapeError
from toneme.lm.pattern import Pattern


def test_as_it_is_drawn():
    pattern = Pattern.interleaved((10, 10), text=2, frames=1)
    codes, text = torch.tensor([[[0, 1, 2], [3, 4, 5]]]), torch.tensor([[7, 8, 9]])
    assert pattern.apply(codes, text, 100).tolist() == [[7, 8, 100, 113, 9, 101, 114, 102, 115]]


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 12), st.integers(0, 12), st.integers(1, 3), st.integers(1, 2))
def test_it_comes_back_and_only_what_is_written_is_allowed(text, frames, n_text, n_frames, width, batch):
    sizes = (5, 7, 9)[:width]
    pattern = Pattern.interleaved(sizes, text, frames)
    codes = (torch.rand(batch, width, n_frames) * torch.tensor(sizes)[:, None]).long()
    words = torch.randint(0, 50, (batch, n_text))
    sequence = pattern.apply(codes, words, 50)
    back = pattern.revert(sequence, 50)
    assert torch.equal(back[0], codes)
    assert torch.equal(back[1], words)
    mask = pattern.loss_mask(n_text, n_frames, text=False)
    assert torch.equal(mask.expand_as(sequence), sequence >= 50)
    turns = -(-n_text // text)
    if n_frames >= turns * frames:  # audio does not end before the text
        assert all(int(sequence[0, i]) in pattern.allowed_ids(i, 50, n_text) for i in range(sequence.shape[1]))


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 9), st.integers(1, 3), st.integers(1, 2))
def test_step_by_step_gives_the_same_frames(text, frames, n_text, width, batch):
    sizes = (5, 7, 9)[:width]
    pattern = Pattern.interleaved(sizes, text, frames)
    n_frames = (n_text // text + 2) * frames
    codes = (torch.rand(batch, width, n_frames) * torch.tensor(sizes)[:, None]).long()
    words = torch.randint(0, 50, (batch, n_text))
    sequence, turns = pattern.apply(codes, words, 50), pattern.generator(50, batch, n_text)
    pieces = [turns.push(ids) for ids in sequence.unbind(1)]
    assert torch.equal(torch.cat(pieces, -1), codes)
    assert torch.equal(turns.sequence, sequence)
    assert [piece.shape[-1] for piece in pieces] == pattern.loss_mask(n_text, n_frames, text=False)[0].long().mul(
        torch.isin(torch.arange(sequence.shape[1]), pattern.order(n_text, n_frames)[1][-1])
    ).tolist()


def test_text_may_end_while_it_is_written():
    turns = Pattern.interleaved((4, 4), text=1, frames=1).generator(10)
    for i in (3, 10, 14, 7):
        turns.push(torch.tensor([i]))
    turns.n_text = 2
    assert turns.push(torch.tensor([13])).shape == (1, 2, 0)
    assert turns.push(torch.tensor([17])).tolist() == [[[3], [3]]]
    assert turns.allowed() == range(10, 14)
    with pytest.raises(ShapeError, match=r"position 6 takes 1 ids from 10 to 13; got \[14\]: limit"):
        turns.push(torch.tensor([14]))


def test_refusals():
    pattern = Pattern.interleaved((4, 4), 1, 1)
    codes, text = torch.zeros(1, 2, 2).long(), torch.zeros(1, 2).long()
    sequence = pattern.apply(codes, text, 10)
    for call, message in [
        (lambda: pattern.apply(codes[:, :1], text, 10), r"takes codes \[batch, 2, frames\]"),
        (lambda: pattern.apply(codes + 4, text, 10), "within the codebooks' sizes"),
        (lambda: pattern.apply(codes, text + torch.tensor([0, 10]), 10), "ids of text must be from 0 to 9; got 0 to 10"),
        (lambda: pattern.apply(codes, text - torch.tensor([0, 1]), 10), "ids of text must be from 0 to 9; got -1 to 0"),
        (lambda: pattern.revert(sequence[:, :-1], 10), "does not take turns"),
        (lambda: pattern.revert(sequence[:, [0, 2, 1, 3, 4, 5]], 10), "out of step"),
        (lambda: pattern.revert(sequence[:, [0, 2, 2, 3, 4, 5]], 10), "out of step"),
        (lambda: pattern.revert(sequence[:, [0, 1, 1, 3, 4, 5]], 10), "out of step"),
        (lambda: pattern.revert(sequence[:, [1, 2, 0, 3, 4, 5]], 10), "does not take turns"),
        (lambda: Pattern.interleaved(2, 1, 1), "and sizes of the codebooks"),
        (lambda: Pattern.interleaved((4, 4), 0, 1), "at least one text token and one frame"),
        (lambda: Pattern.interleaved((4, 4), 1, 0), "at least one text token and one frame"),
    ]:
        with pytest.raises(ShapeError, match=message):
            call()
