"""Chunks of a token file: frames of every stream, packed or entropy-coded, whichever is smaller."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .bitpack import pack, packed_bytes, unpack, width_of
from .entropy import CODES_PER_BYTE, MAX_REPEAT, SymbolReader, Symbols, UniformTable, repeat_table
from .errors import TokenFileError
from .tokenfile_bytes import Source, checked, varint
from .tokenfile_header import MAX_CODES, MAX_FRAMES, Header
from .tokenfile_tables import Tables

END, TABLE, CHUNK = 0x01, 0x02, 0x10  # kinds of record; a chunk's kind is CHUNK plus flags
ENTROPY, LEARNT, REPEATS = 1, 2, 4
KINDS = {CHUNK + flags for flags in (0, ENTROPY, ENTROPY | LEARNT, ENTROPY | REPEATS, ENTROPY | LEARNT | REPEATS)}


@dataclass(frozen=True)
class Chunk:
    """Some frames: int64 [codebooks, frames] per stream, and the float32 side numbers of their segments."""

    streams: tuple[np.ndarray, ...]
    side: tuple[np.ndarray, ...] = ()

    @property
    def frames(self) -> tuple[int, ...]:
        """Frames per stream."""
        return tuple(codes.shape[1] for codes in self.streams)

    @property
    def rows(self) -> list[np.ndarray]:
        """Codes of each codebook, streams joined."""
        return [row for codes in self.streams for row in codes]


def repeat_weights(chunk: Chunk, sizes: Sequence[int]) -> list[int]:
    """Return, per codebook, the chance in 256ths that a code repeats the frame before; 0 where that does not pay."""
    weights = []
    for row, size in zip(chunk.rows, sizes, strict=True):
        pairs = len(row) - 1
        repeats = int((row[1:] == row[:-1]).sum()) if pairs > 0 else 0
        weight = min(MAX_REPEAT, round(256 * repeats / pairs)) if repeats else 0
        if weight:
            cost = repeat_table(weight).bits(np.array([repeats, pairs - repeats]))
            weight = weight if cost + 8 < repeats * width_of(size) else 0
        weights.append(weight)
    return weights


def literals_of(row: np.ndarray, weight: int) -> np.ndarray:
    """Return the codes of a codebook that are stored as such: all, or those that do not repeat."""
    return row[np.concatenate([[True], row[1:] != row[:-1]])] if weight and len(row) else row


def encode_chunk(chunk: Chunk, header: Header, tables: Tables, weights: Sequence[int]) -> tuple[int, bytes]:
    """Return the kind and the content of a chunk's record, the smallest way."""
    side = b"".join(np.ascontiguousarray(values, "<f4").tobytes() for values in chunk.side)
    rows = chunk.rows
    widths = [width_of(size) for size in header.sizes]
    plain = packed_bytes([len(row) for row in rows], widths)
    if header.encoding == "entropy" and tables.codable and _may_gain(tables, weights):
        kind, coded = _encode_entropy(rows, tables, weights)
        if len(coded) < plain and sum(map(len, rows)) <= CODES_PER_BYTE * len(coded):
            return kind, side + coded
    return CHUNK, side + pack(rows, widths)


def _may_gain(tables: Tables, weights: Sequence[int]) -> bool:
    """Whether entropy coding could be smaller: power-of-two codebooks without tables or repeats never are."""
    return any(weights) or bool(tables.classes) or any(size & (size - 1) for size in tables.sizes)


def _encode_entropy(rows: list[np.ndarray], tables: Tables, weights: Sequence[int]) -> tuple[int, bytes]:
    symbols = Symbols()
    for i, (row, weight) in enumerate(zip(rows, weights, strict=True)):
        if weight and len(row) > 1:
            symbols.add(repeat_table(weight), (row[1:] != row[:-1]).astype(np.int64))
        symbols.add(tables[i], literals_of(row, weight))
    kind = CHUNK | ENTROPY | (LEARNT if tables.classes else 0) | (REPEATS if any(weights) else 0)
    return kind, (bytes(weights) if any(weights) else b"") + symbols.encode()


def chunk_record(kind: int, first: int, chunk: Chunk, content: bytes) -> bytes:
    """Return a chunk's record; `first` is the frame of the slowest stream with which it begins."""
    segments = [len(chunk.side[0])] if chunk.side else []
    numbers = b"".join(map(varint, (first, *chunk.frames, *segments, len(content))))
    return checked(bytes([kind]) + numbers + content)


def read_chunk_start(source: Source, kind: int, header: Header, first: int) -> tuple[tuple[int, ...], int, int]:
    """Read a chunk's numbers, which must continue at frame `first`; return frames per stream, side numbers of
    each name and the content's length.

    Raises:
        TokenFileError: if they are out of range, or claim more codes than the content can hold.
    """
    what = f"chunk at frame {first}"
    found = source.number((1 << 62) - 1, what, "its first frame")
    if found != first:
        raise TokenFileError(
            f"the chunk at byte {source.start} begins at frame {found} where frame {first} was expected: a part of the file is "
            "missing; read what comes before it with salvage"
        )
    frames = tuple(source.number(MAX_FRAMES, what, "its number of frames") for _ in header.frame_rates)
    counts = _counts(frames, header)
    if not any(frames) or sum(counts) > MAX_CODES:
        raise TokenFileError(
            f"the {what}, byte {source.start}, is not valid: it must hold frames, and at most {MAX_CODES} codes, got "
            f"{sum(counts)}"
        )
    if header.side and frames[header.slow] and first % header.side_period:
        raise TokenFileError(f"the {what}, byte {source.start}, is not valid: it does not begin with a side number")
    segments = source.number(frames[header.slow], what, "its number of side numbers") if header.side else 0
    side = 4 * len(header.side) * segments
    plain = packed_bytes(counts, [width_of(size) for size in header.sizes])
    length = source.number(side + plain, what, "the length of its content")
    fits = length == side + plain if kind == CHUNK else sum(counts) <= CODES_PER_BYTE * (length - side)
    if not fits:
        raise TokenFileError(f"the {what}, byte {source.start}, is not valid: {length} bytes cannot hold {sum(counts)} codes")
    return frames, segments, length


def _counts(frames: Sequence[int], header: Header) -> list[int]:
    return [n for n, sizes in zip(frames, header.codebook_sizes, strict=True) for _ in sizes]


def decode_chunk(
    kind: int, content: bytes, frames: Sequence[int], segments: int, header: Header, tables: Tables, offset: int
) -> Chunk:
    """Undo `encode_chunk`; `offset` is where the record begins.

    Raises:
        TokenFileError: if the content cannot have been written so.
    """
    at = 4 * len(header.side) * segments
    side = tuple(np.frombuffer(content[:at], "<f4").reshape(len(header.side), segments)) if header.side else ()
    counts = _counts(frames, header)
    try:
        if kind == CHUNK:
            rows = unpack(content[at:], counts, [width_of(size) for size in header.sizes])
        else:
            rows = _decode_entropy(kind, content[at:], counts, tables)
        _check_codes(rows, header.sizes)
    except ValueError as error:
        raise TokenFileError(f"the chunk at byte {offset} is not valid: {error}") from None
    streams, done = [], 0
    for n, sizes in zip(frames, header.codebook_sizes, strict=True):
        streams.append(np.stack(rows[done : done + len(sizes)]) if sizes else np.zeros((0, n), np.int64))
        done += len(sizes)
    return Chunk(tuple(streams), side)


def _check_codes(rows: list[np.ndarray], sizes: Sequence[int]) -> None:
    for i, (row, size) in enumerate(zip(rows, sizes, strict=True)):
        if len(row) and row.max() >= size:
            raise ValueError(f"codebook {i} has {size} codes, from 0 to {size - 1}, and code {row.max()} is stored")


def _decode_entropy(kind: int, data: bytes, counts: list[int], tables: Tables) -> list[np.ndarray]:
    if not tables.codable:
        raise ValueError("it is entropy-coded, and a codebook of this file is too large for that")
    if kind & LEARNT and not tables.classes:
        raise ValueError("it needs a table, and none comes before it")
    known = tables if kind & LEARNT else Tables(tables.sizes)
    weights = list(data[: len(counts)]) if kind & REPEATS else [0] * len(counts)
    if len(weights) < len(counts) or max(weights) > MAX_REPEAT:
        raise ValueError(f"the chances of repeated codes must be {len(counts)} bytes from 0 to {MAX_REPEAT}")
    reader = SymbolReader(data[len(counts) :] if kind & REPEATS else data)
    rows = [_decode_row(reader, known[i], n, weight) for i, (n, weight) in enumerate(zip(counts, weights, strict=True))]
    reader.finish()
    return rows


def _decode_row(reader: SymbolReader, table: UniformTable, count: int, weight: int) -> np.ndarray:
    if not weight or count < 2:
        return reader.take(table, count)
    new = np.concatenate([[1], reader.take(repeat_table(weight), count - 1)])
    return reader.take(table, int(new.sum()))[np.cumsum(new) - 1]
