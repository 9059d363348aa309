"""Step by step: when frames are complete, where an unknown length ends, what is refused."""

import pytest
import torch

from toneme.codecs.errors import ShapeError
from toneme.lm.pattern import Pattern


def test_frames_come_as_soon_as_their_last_code_is_there():
    stepper = Pattern.delay((8, 8, 8)).generator()
    assert [stepper.push(torch.full((1, 3), i)).shape[-1] for i in range(5)] == [0, 0, 1, 1, 1]


def test_an_end_that_is_found_on_the_way():
    pattern = Pattern.delay((8, 8))
    stepper = pattern.generator()
    first = stepper.push(torch.tensor([[1, 5]]))
    second = stepper.push(torch.tensor([[2, 3]]))
    stepper.frames = 2
    assert stepper.fixed().tolist() == [8, -1]
    last = stepper.push(torch.tensor([[7, 4]]))
    assert torch.cat([first, second, last], -1).tolist() == [[[1, 2], [3, 4]]]
    assert stepper.sequence.tolist() == [[[8, 1, 2, 8], [8, 8, 3, 4]]]
    assert stepper.push(torch.tensor([[7, 4]])).shape[-1] == 0


def test_special_tokens_in_place_of_the_earliest_codes_end_the_audio():
    pattern = Pattern.delay((8, 8, 8))
    codes = torch.randint(0, 8, (2, 3, 5))
    stepper = pattern.generator(2)
    pieces = [stepper.push(column) for column in pattern.apply(codes)[..., 1:].unbind(-1)]
    assert stepper.frames == 5
    assert torch.equal(torch.cat(pieces, -1), codes)


def test_codes_out_of_range_never_pass():
    stepper = Pattern.delay((8, 4)).generator()
    with pytest.raises(ShapeError, match=r"codebook 0 must be from 0 to 7; got \[9\] at step 1: limit"):
        stepper.push(torch.tensor([[9, 0]]))
    with pytest.raises(ShapeError, match=r"codebook 0 must be from 0 to 7; got \[7, 8\] at step 1"):
        Pattern.delay((8, 4)).generator(2).push(torch.tensor([[7, 0], [8, 0]]))
    with pytest.raises(ShapeError, match=r"a column is \[1, 2\]; got \[1, 3\]"):
        stepper.push(torch.zeros(1, 3))
    with pytest.raises(ShapeError, match=r"stage 1 takes codes \[1, 0, 0\]"):
        stepper.fill(torch.zeros(1, 1, 3).long())


def test_stages_are_filled_in_order():
    pattern = Pattern.ar_nar((8, 8, 8))
    stepper = pattern.generator(2)
    for i in range(4):
        assert stepper.push(torch.full((2, 3), i)).shape[-1] == 0
    with pytest.raises(ShapeError, match=r"stage 1 takes codes \[2, 1, 4\]; got \[2, 1, 3\]"):
        stepper.fill(torch.zeros(2, 1, 3).long())
    assert stepper.fill(torch.full((2, 1, 4), 5)).shape[-1] == 0
    assert stepper.fill(torch.full((2, 1, 4), 6))[0].tolist() == [[0, 1, 2, 3], [5] * 4, [6] * 4]
