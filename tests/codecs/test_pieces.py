"""Pieces: tokens of one item as arrays, and back."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import toneme
from toneme.codecs.pieces import check_maker, piece_of
from toneme.codecs.tokenfile_header import Header
from toneme.codecs.tokens import Tokens

from .tokensets import assert_same, make_tokens

SEVERAL = {"sizes": ((256,), (256, 512)), "ratios": (1, 2)}


@pytest.mark.parametrize("layout", [{}, SEVERAL, {"side_period": 30}])
def test_tokens_of_a_piece_are_those_that_it_was_made_of(layout):
    tokens = make_tokens(**layout)
    piece = piece_of(tokens)
    assert [codes.dtype for codes in piece.streams] == [np.int64] * len(tokens.streams)
    assert_same(Tokens.of(piece), tokens)
    assert Header.of(Tokens.of(piece)) == piece.header == Header.of(tokens)


def test_a_piece_is_cut_to_the_frames_in_use():
    tokens = make_tokens(frames=10)
    piece = piece_of(replace(tokens, lengths=torch.tensor([[7]])))
    np.testing.assert_array_equal(piece.streams[0], tokens.codes[0, :, :7])


def test_an_array_is_not_copied():
    piece = piece_of(make_tokens())
    Tokens.of(piece).codes[0, 0, 0] = 7
    assert piece.streams[0][0, 0] == 7


def test_makers_are_told_apart():
    made = make_tokens()
    for tokens in (made, Header.of(made)):
        check_maker(tokens, "made", "0123456789abcdef")
        check_maker(tokens, "made", "other", any_weights=True)
        with pytest.raises(toneme.CheckpointError, match="made by made, not by other"):
            check_maker(tokens, "other", "0123456789abcdef")
        with pytest.raises(toneme.CheckpointError, match="with weights 0123456789abcdef, and these weights are other"):
            check_maker(tokens, "made", "other")
    check_maker(replace(made, weights_hash=""), "made", "other")
