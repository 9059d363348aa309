"""Tables of a token file: how likely each code is, learnt by the writer and stored as 4-bit weight classes."""

from collections.abc import Sequence

import numpy as np

from .entropy import TOTAL, Table, UniformTable, classes_from_counts, table_from_classes
from .errors import TokenFileError

MAX_TABLE = 1 << 20  # bytes of a table record's content


class Tables:
    """One table per codebook, streams joined; None where the codebook is too large to be entropy-coded.

    Args:
        sizes: entries of each codebook.
        classes: weight classes of the codebooks that have a table of their own; the others are uniform.
    """

    def __init__(self, sizes: Sequence[int], classes: dict[int, np.ndarray] | None = None) -> None:
        self.sizes, self.classes = tuple(sizes), classes or {}
        self._tables: dict[int, Table] = {}

    def __getitem__(self, codebook: int) -> UniformTable:
        """Return the table of a codebook of at most 65,536 entries."""
        if codebook not in self.classes:
            return UniformTable(self.sizes[codebook])
        if codebook not in self._tables:
            self._tables[codebook] = table_from_classes(self.classes[codebook])
        return self._tables[codebook]

    @property
    def codable(self) -> bool:
        """Whether every codebook is small enough for entropy coding."""
        return max(self.sizes) <= TOTAL

    def to_bytes(self) -> bytes:
        """Return the content of a table record: a bit per codebook, then the classes, two a byte, low half first."""
        present = np.array([i in self.classes for i in range(len(self.sizes))])
        parts = [np.packbits(present, bitorder="little").tobytes()]
        for i in sorted(self.classes):
            even = np.concatenate([self.classes[i], np.zeros(self.sizes[i] % 2, np.uint8)])
            parts.append((even[::2] | even[1::2] << 4).astype(np.uint8).tobytes())
        return b"".join(parts)

    @classmethod
    def from_bytes(cls, sizes: Sequence[int], content: bytes, offset: int) -> "Tables":
        """Undo `to_bytes`.

        Raises:
            TokenFileError: if the content is not that of tables for these codebooks.
        """
        bitmap = -(-len(sizes) // 8)
        present = np.unpackbits(np.frombuffer(content[:bitmap], np.uint8), bitorder="little").nonzero()[0].tolist()
        expected = bitmap + sum(-(-sizes[i] // 2) for i in present if i < len(sizes))
        if len(content) != expected or any(i >= len(sizes) or sizes[i] > TOTAL for i in present):
            raise TokenFileError(f"the table at byte {offset} is not valid: its length or its codebooks do not fit the header")
        classes, at = {}, bitmap
        for i in present:
            packed = np.frombuffer(content, np.uint8, -(-sizes[i] // 2), at)
            at += len(packed)
            halves = np.stack([packed & 15, packed >> 4], axis=1).ravel()
            if halves[sizes[i] :].any() or not halves.any():
                raise TokenFileError(f"the table at byte {offset} is not valid: codebook {i} has no weights, or too many")
            classes[i] = halves[: sizes[i]]
        return cls(sizes, classes)


def most_table_bytes(sizes: Sequence[int]) -> int:
    """Return the length of the longest table record's content."""
    return min(MAX_TABLE, -(-len(sizes) // 8) + sum(-(-size // 2) for size in sizes if size <= TOTAL))


class Learner:
    """Counts codes and says when tables would pay for themselves.

    In a stream the tables are made of the codes so far once tables made of an earlier part have proved themselves on a
    later part, at twice as many frames each time: memory stays constant and nothing waits for the end.
    """

    FIRST_CHECK = 2048  # frames

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = tuple(sizes)
        self._past = [np.zeros(size, np.int64) for size in self.sizes]
        self._recent = [np.zeros(size, np.int64) for size in self.sizes]
        self._frames, self._check = 0, self.FIRST_CHECK

    def add(self, literals: Sequence[np.ndarray], frames: int) -> None:
        """Count the codes of one chunk."""
        for recent, codes in zip(self._recent, literals, strict=True):
            counts = np.bincount(codes)
            recent[: len(counts)] += counts
        self._frames += frames

    def whole(self) -> Tables | None:
        """Return tables worth storing before these very codes, or None."""
        return self._worth(self._recent, self._recent, Tables(self.sizes))

    def proven(self, current: Tables) -> Tables | None:
        """Return tables worth storing before codes like those counted, or None; to be asked after each chunk."""
        if self._frames < self._check:
            return None
        self._check *= 2
        worth = self._worth(self._past, self._recent, current)
        for past, recent in zip(self._past, self._recent, strict=True):
            past += recent
            recent[:] = 0
        if worth is None:
            return None
        return Tables(self.sizes, {i: classes_from_counts(self._past[i]) for i in worth.classes})

    def _worth(self, seen: list[np.ndarray], later: list[np.ndarray], current: Tables) -> Tables | None:
        """Return tables of what was seen that make `later` smaller than `current` does by more than they take."""
        classes, saving = {}, 0.0
        for i, (counts, target) in enumerate(zip(seen, later, strict=True)):
            now, uniform = current[i].bits(target), UniformTable(self.sizes[i]).bits(target)
            found = classes_from_counts(counts) if counts.any() else None
            learnt = table_from_classes(found).bits(target) if found is not None else uniform
            if found is not None and learnt + 4 * self.sizes[i] < uniform:
                classes[i] = found
                saving += now - learnt - 4 * self.sizes[i]
            else:
                saving += now - uniform
        return Tables(self.sizes, classes) if classes and saving > 8 * 16 else None
