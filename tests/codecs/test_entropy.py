"""The entropy coder: exact by an independent big-number model, within a hair of the entropy, and safe against foreign bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toneme.codecs.entropy import (
    LOW,
    TOTAL,
    SymbolReader,
    Symbols,
    Table,
    UniformTable,
    classes_from_counts,
    repeat_table,
    table_from_classes,
)


def encode(*runs: tuple[UniformTable, np.ndarray]) -> bytes:
    symbols = Symbols()
    for table, values in runs:
        symbols.add(table, values)
    return symbols.encode()


def test_the_first_steps_by_hand():
    # state 2^32, symbol 1 of a uniform table of 4 (16,384 slots from slot 16,384): 2^32 / 2^14 * 2^16 + 2^14
    data = encode((UniformTable(4), np.array([1])))
    assert int.from_bytes(data, "little") == (1 << 34) + (1 << 14)


def test_two_states_renormalise_by_sixteen_bits():
    table = Table(np.array([0, 1, TOTAL]))
    data = encode((table, np.zeros(2, np.int64)))  # each symbol of one slot costs 16 bits
    assert len(data) == 6 + 2 * 2
    assert SymbolReader(data).take(table, 2).tolist() == [0, 0]


@given(st.sampled_from([1, 2, 3, 5, 729, 1024, 6561, 65536]), st.integers(0, 300), st.integers(0, 2**32))
def test_uniform_symbols_come_back(size, count, seed):
    symbols = np.random.default_rng(seed).integers(0, size, count)
    reader = SymbolReader(encode((UniformTable(size), symbols)))
    np.testing.assert_array_equal(reader.take(UniformTable(size), count), symbols)
    reader.finish()


@given(st.lists(st.integers(0, 15), min_size=1, max_size=300).filter(any), st.integers(0, 300), st.integers(0, 2**32))
def test_learnt_tables_hold_every_symbol(classes, count, seed):
    table = table_from_classes(np.array(classes, np.uint8))
    starts, widths = table.slots(np.arange(len(classes)))
    assert widths.min() >= 1
    assert starts[0] == 0
    assert starts[-1] + widths[-1] == TOTAL
    symbols = np.random.default_rng(seed).integers(0, len(classes), count)
    reader = SymbolReader(encode((table, symbols), (repeat_table(7), symbols % 2)))
    np.testing.assert_array_equal(reader.take(table, count), symbols)
    np.testing.assert_array_equal(reader.take(repeat_table(7), count), symbols % 2)
    reader.finish()


def test_the_coder_costs_what_the_table_says():
    rng = np.random.default_rng(0)
    chances = rng.dirichlet(np.full(1024, 0.3))
    symbols = rng.choice(1024, 20000, p=chances)
    counts = np.bincount(symbols, minlength=1024)
    table = table_from_classes(classes_from_counts(counts))
    assert len(encode((table, symbols))) * 8 <= table.bits(counts) * 1.0001 + 64
    entropy = -(counts[counts > 0] * np.log2(counts[counts > 0] / counts.sum())).sum()
    assert table.bits(counts) < entropy * 1.01 + 200  # 16 weight classes, half an octave apart, cost under one percent


def test_table_of_the_largest_codebook_is_uniform():
    table = table_from_classes(np.full(65536, 9, np.uint8))
    assert set(table.slots(np.arange(65536))[1].tolist()) == {1}


@pytest.mark.parametrize("size", [3, 1000, 46656])
def test_uniform_slots_find_their_symbol(size):
    """Division finds the symbol of every slot that a table of the same starts has by search."""
    even = UniformTable(size)
    table = Table(np.arange(size + 1) * TOTAL // size)
    symbols = np.random.default_rng(1).integers(0, size, 500)
    assert encode((even, symbols)) == encode((table, symbols))
    np.testing.assert_array_equal(SymbolReader(encode((even, symbols))).take(table, 500), symbols)


def test_short_or_long_data_is_refused():
    table, symbols = UniformTable(1024), np.arange(100)
    data = encode((table, symbols))
    with pytest.raises(ValueError, match="ends before"):
        SymbolReader(data[:-2]).take(table, 100)
    reader = SymbolReader(data + b"\0\0")
    reader.take(table, 100)
    with pytest.raises(ValueError, match="does not end"):
        reader.finish()
    with pytest.raises(ValueError, match="6 bytes and 16-bit words"):
        SymbolReader(data[:5])
    with pytest.raises(ValueError, match=r"at least 2\^32"):
        SymbolReader((LOW - 1).to_bytes(6, "little"))
