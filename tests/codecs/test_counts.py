"""Whole numbers of any type are taken, and nothing else."""

import numpy as np
import pytest
import torch

from toneme.codecs.counts import counts, whole
from toneme.codecs.errors import ShapeError


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), torch.tensor(3), torch.tensor([3])])
def test_a_whole_number_of_any_type_is_an_int(value: object):
    assert type(whole(value, "it")) is int
    assert whole(value, "it") == 3


@pytest.mark.parametrize("value", [3.0, "3", None, torch.tensor(3.0), [3]])
def test_what_is_no_whole_number_is_refused_by_name(value: object):
    with pytest.raises(ShapeError, match="depth must be a whole number"):
        whole(value, "depth")


@pytest.mark.parametrize(
    "values", [[3, 4], (3, 4), range(3, 5), np.array([3, 4], np.uint16), torch.tensor([3, 4]).int(), iter((3, 4))]
)
def test_whole_numbers_are_a_tensor(values: object):
    found = counts(values, "they")
    assert found.dtype == torch.int64
    assert found.tolist() == [3, 4]


def test_none_are_none():
    assert counts([], "they").tolist() == []


@pytest.mark.parametrize("values", [[1.0, 0.5], torch.tensor([1.0]), ["3"], [None], [True], 3, None])
def test_relative_lengths_and_the_like_are_refused(values: object):
    with pytest.raises(ShapeError, match="lengths must be whole numbers"):
        counts(values, "lengths")
