"""Overlap: layers of bounded reach over a signal in pieces give what they give of the whole."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv1d, pad

from toneme.codecs.overlap import Overlap


def frames(x: Tensor) -> Tensor:
    """Three inputs per output, each of which sees a unit on either side."""
    return conv1d(pad(x, (3, 3)), torch.arange(1.0, 10.0)[None, None], stride=3)


@pytest.mark.parametrize("units", [1, 4, 5, 6, 40])
@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_pieces_equal_the_whole(units: int, piece: int):
    audio = torch.arange(3.0 * units).sin()[None, None]
    overlap = Overlap(frames, enter=3, leave=1, context=1, chunk=4)
    parts = audio.split(piece, dim=-1)
    found = [y for n, part in enumerate(parts) for y in overlap.push(part, last=n == len(parts) - 1)]
    torch.testing.assert_close(torch.cat(found, dim=-1), frames(audio))
    assert [y.shape[-1] for y in found[:-1]] == [4] * (len(found) - 1)


def test_what_is_not_needed_any_more_is_let_go():
    overlap = Overlap(frames, enter=3, leave=1, context=1, chunk=4)
    for _ in range(50):
        overlap.push(torch.zeros(1, 1, 7))
        assert overlap.held is not None
        assert overlap.held.shape[-1] <= 3 * (1 + 4 + 1 + 1)


def test_nothing_gives_nothing():
    assert Overlap(frames, 3, 1, 1, 4).push(torch.zeros(1, 1, 0), last=True) == []
