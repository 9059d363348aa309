"""Bit packing: widths, order of bits, and refusal of what `pack` cannot have written."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toneme.codecs.bitpack import pack, packed_bytes, unpack, width_of


@pytest.mark.parametrize(("size", "width"), [(1, 1), (2, 1), (3, 2), (1024, 10), (1025, 11), (6561, 13), (65536, 16)])
def test_width_is_the_ceiling_of_log2(size, width):
    assert width_of(size) == width


def test_bits_are_least_significant_first_and_without_gaps():
    # 3 in 3 bits, 1 in 3 bits, then 5 in 4 bits: 110 100 1010, written from the lowest bit up
    assert pack([np.array([3, 1]), np.array([5])], [3, 4]) == bytes([0b01001011, 0b00000001])


@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(0, 40)), max_size=6),
    st.integers(0, 2**32),
)
def test_rows_of_any_width_come_back(shapes, seed):
    rng = np.random.default_rng(seed)
    rows = [rng.integers(0, 1 << width, count) for width, count in shapes]
    counts, widths = [count for _, count in shapes], [width for width, _ in shapes]
    data = pack(rows, widths)
    assert len(data) == packed_bytes(counts, widths)
    for row, back in zip(rows, unpack(data, counts, widths), strict=True):
        np.testing.assert_array_equal(row, back)


def test_other_lengths_and_dirty_filling_are_refused():
    data = pack([np.array([1, 2, 3])], [5])
    with pytest.raises(ValueError, match="expected 2 bytes"):
        unpack(data + b"\0", [3], [5])
    with pytest.raises(ValueError, match="must be zero"):
        unpack(bytes([data[0], data[1] | 0x80]), [3], [5])
