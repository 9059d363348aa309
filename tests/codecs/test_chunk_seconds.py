"""Lengths of chunks that are asked for: seconds above nothing, in whole units, one at least."""

import math
import sys
from fractions import Fraction

import numpy as np
import pytest

from toneme.codecs.chunk_seconds import LONGEST, check_fixed, checked_seconds, chunk_units, seconds_or
from toneme.codecs.errors import ShapeError


@pytest.mark.parametrize("value", [0.5, 1, np.float32(0.5), np.int64(2), Fraction(1, 2), 1e-9])
def test_seconds_of_any_type_are_taken(value: object):
    assert checked_seconds(value) == float(value)  # type: ignore[arg-type]
    assert seconds_or(value, 10.0) == float(value)  # type: ignore[arg-type]


def test_a_length_whose_samples_are_beyond_all_numbers_is_without_end():
    assert chunk_units(checked_seconds(sys.float_info.max), 48000, 1) == LONGEST * 48000


@pytest.mark.parametrize("value", [0, -0.5, math.nan, math.inf, "0.5", True, [0.5]])
def test_what_is_no_length_is_refused(value: object):
    with pytest.raises(ShapeError, match="chunk_seconds must be a number of seconds above 0, such as"):
        checked_seconds(value)
    with pytest.raises(ShapeError, match="chunk_seconds must be"):
        check_fixed("made", value, 1.0)  # type: ignore[arg-type]


def test_nothing_asked_for_is_the_codecs_own():
    assert seconds_or(None, 10.0) == 10.0
    check_fixed("made", None, 1.0)
    with pytest.raises(ShapeError, match=r"made works on 10\.24 s of audio at once.*leave chunk_seconds out"):
        check_fixed("made", 0.5, 10.24)


def test_chunks_are_whole_units():
    assert [chunk_units(seconds, 8000, 320) for seconds in (1e-9, 0.04, 0.1, 10.0)] == [1, 1, 2, 250]
