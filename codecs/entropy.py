"""Entropy coding of codes with integers alone: range asymmetric numeral systems (rANS) over tables that sum to 65,536.

Duda, "Asymmetric numeral systems: entropy coding combining speed of Huffman coding with compression rate of arithmetic
coding", arXiv:1311.2540. One state of 48 bits, renormalised by 16-bit words; TOKENFILE.md states every step.
"""

from array import array
from bisect import bisect_right
from functools import lru_cache

import numpy as np

TOTAL = 1 << 16  # slots of every table
LOW = 1 << 32  # the state lies in [LOW, LOW << 16) between symbols
STATE_BYTES = 6
CLASS_WEIGHTS = np.array([0, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181, 256], np.int64)  # half octaves
MAX_REPEAT = 232  # a repeated code costs at least log2(256 / 232) = 0.142 bits, which bounds what few bytes can claim
CODES_PER_BYTE = 64


class UniformTable:
    """Gives each of `size` <= 65,536 symbols the same chance, to the nearest slot: symbol s starts at s * 65536 // size."""

    def __init__(self, size: int) -> None:
        self.size = size

    def slots(self, symbols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the first slot and the number of slots of each symbol."""
        starts = symbols * TOTAL // self.size
        return starts, (symbols + 1) * TOTAL // self.size - starts

    def bits(self, counts: np.ndarray) -> float:
        """Return the bits that symbols seen so often take: an estimate, for the writer's choices only."""
        return float(counts @ (16 - np.log2(self.slots(np.arange(self.size))[1])))


class Table(UniformTable):
    """Gives symbol s the slots from `starts[s]` up to `starts[s + 1]`; the last start is 65,536."""

    def __init__(self, starts: np.ndarray) -> None:
        super().__init__(len(starts) - 1)
        self.starts = array("I", starts.tolist())

    def slots(self, symbols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the first slot and the number of slots of each symbol."""
        starts = np.frombuffer(self.starts, np.uint32).astype(np.int64)
        return starts[symbols], starts[symbols + 1] - starts[symbols]


def table_from_classes(classes: np.ndarray) -> Table:
    """Return the table of a codebook whose codes have these weight classes (0 to 15); every code keeps at least one slot."""
    weights = np.concatenate([[0], np.cumsum(CLASS_WEIGHTS[classes])])
    return Table(np.arange(len(classes) + 1, dtype=np.int64) + weights * (TOTAL - len(classes)) // weights[-1])


def classes_from_counts(counts: np.ndarray) -> np.ndarray:
    """Return the weight classes nearest, in octaves, to how often each code was seen."""
    edges = np.concatenate([[1.0], np.sqrt(CLASS_WEIGHTS[1:-1] * CLASS_WEIGHTS[2:])])
    return np.searchsorted(edges, counts * (CLASS_WEIGHTS[-1] / counts.max()), side="right").astype(np.uint8)


@lru_cache(maxsize=256)
def repeat_table(weight: int) -> Table:
    """Return the table of the flag "as the frame before" (symbol 0, chance weight / 256) or "new" (symbol 1)."""
    return Table(np.array([0, weight << 8, TOTAL]))


class Symbols:
    """Symbols in the order in which they will be read, each with the slots of its table."""

    def __init__(self) -> None:
        self._starts: list[np.ndarray] = []
        self._widths: list[np.ndarray] = []

    def add(self, table: UniformTable, symbols: np.ndarray) -> None:
        """Append symbols of one table."""
        starts, widths = table.slots(symbols)
        self._starts.append(starts)
        self._widths.append(widths)

    def encode(self) -> bytes:
        """Return the state (6 bytes) and the 16-bit words, little-endian, in reading order."""
        state, words = LOW, []
        if self._starts:
            starts = np.concatenate(self._starts)[::-1].tolist()
            widths = np.concatenate(self._widths)[::-1].tolist()
            for start, width in zip(starts, widths, strict=True):
                if state >= width << 32:
                    words.append(state & 0xFFFF)
                    state >>= 16
                state = (state // width << 16) + state % width + start
        return state.to_bytes(STATE_BYTES, "little") + np.array(words[::-1], "<u2").tobytes()


class SymbolReader:
    """Reads back what `Symbols.encode` wrote.

    Raises:
        ValueError: here and in every method, if the bytes cannot have been written so.
    """

    def __init__(self, data: bytes) -> None:
        if len(data) < STATE_BYTES or len(data) % 2:
            raise ValueError(f"entropy-coded data must be 6 bytes and 16-bit words, got {len(data)} bytes")
        self._state = int.from_bytes(data[:STATE_BYTES], "little")
        self._words = iter(np.frombuffer(data, "<u2", offset=STATE_BYTES).tolist())
        if self._state < LOW:
            raise ValueError(f"the entropy coder's first state must be at least 2^32, got {self._state}")

    def take(self, table: UniformTable, count: int) -> np.ndarray:
        """Return the next `count` symbols of one table, int64."""
        try:
            symbols = self._take_table(table.starts, count) if isinstance(table, Table) else self._take_even(table.size, count)
        except StopIteration:
            raise ValueError("the entropy-coded data ends before its codes do") from None
        return np.array(symbols, np.int64)

    def _take_table(self, starts: array, count: int) -> list[int]:
        words, state, out = self._words, self._state, []
        for _ in range(count):
            slot = state & 0xFFFF
            symbol = bisect_right(starts, slot) - 1
            start = starts[symbol]
            state = (starts[symbol + 1] - start) * (state >> 16) + slot - start
            if state < LOW:
                state = state << 16 | next(words)
            out.append(symbol)
        self._state = state
        return out

    def _take_even(self, size: int, count: int) -> list[int]:
        words, state, out = self._words, self._state, []
        for _ in range(count):
            slot = state & 0xFFFF
            symbol = ((slot + 1) * size - 1) >> 16
            start = (symbol << 16) // size
            state = (((symbol + 1) << 16) // size - start) * (state >> 16) + slot - start
            if state < LOW:
                state = state << 16 | next(words)
            out.append(symbol)
        self._state = state
        return out

    def finish(self) -> None:
        """Check that the symbols used the data up, to the coder's starting state."""
        if self._state != LOW or next(self._words, None) is not None:
            raise ValueError("the entropy-coded data does not end where its codes end")
