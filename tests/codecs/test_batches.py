"""Codes as callers have them become streams of tensors."""

import numpy as np
import pytest
import torch

from toneme.codecs.batches import as_streams
from toneme.codecs.errors import ShapeError

CODES = torch.arange(12).view(1, 2, 6)


@pytest.mark.parametrize(
    "codes", [CODES, CODES.numpy(), CODES.numpy().astype(np.uint16), [CODES], CODES.flip(-1).numpy()[..., ::-1]]
)
def test_tensors_and_arrays_are_streams(codes: object):
    (stream,) = as_streams(codes)  # pyright: ignore[reportArgumentType]
    assert torch.equal(stream, CODES)


def test_an_array_that_cannot_be_written_to_is_taken(recwarn: pytest.WarningsRecorder):
    array = CODES.numpy().copy()
    array.flags.writeable = False
    assert torch.equal(as_streams(array)[0], CODES)
    assert not recwarn.list


@pytest.mark.parametrize("codes", [[[[0, 1]]], None, "codes", np.zeros((1, 2, 3)), np.array(["a"])])
def test_anything_else_is_refused(codes: object):
    with pytest.raises(ShapeError, match="codes must be tensors of integers"):
        as_streams(codes)  # pyright: ignore[reportArgumentType]
