"""Mutations of token files for the fuzz tests: raw ones, and ones whose checksums are made right again.

A file that is only flipped at random nearly always ends at its first CRC. So most mutations here are made inside a record's
content or numbers, after which the record's CRC and the footer are computed anew: they reach the parsers behind.
"""

import io
import random
import struct
from dataclasses import dataclass, replace

from crc32c import crc32c

from toneme.codecs.tokenfile_bytes import Source, varint
from toneme.codecs.tokenfile_header import read_header

EXTREMES = (
    0,
    1,
    2,
    127,
    128,
    255,
    256,
    65535,
    65536,
    1 << 20,
    (1 << 20) + 1,
    1 << 31,
    1 << 32,
    1 << 40,
    1 << 62,
    (1 << 63) - 1,
)


def flips(data: bytearray, rng: random.Random) -> None:
    """Flip one to four bits."""
    for _ in range(rng.randint(1, 4)):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def cut(data: bytearray, rng: random.Random) -> None:
    """Drop a stretch, or everything from a place on."""
    at = rng.randint(0, len(data))
    del data[at : at + rng.choice((1, 2, 5, 40, len(data)))]


def insert(data: bytearray, rng: random.Random) -> None:
    """Insert bytes: zeros, ones, noise or a copy of the file's own."""
    at, count = rng.randint(0, len(data)), rng.choice((1, 2, 7, 64))
    own = bytes(data[rng.randint(0, len(data)) :][:count])
    data[at:at] = rng.choice((bytes(count), b"\xff" * count, rng.randbytes(count), own))


def swap(data: bytearray, rng: random.Random) -> None:
    """Swap two stretches."""
    count = rng.choice((1, 3, 16))
    a, b = sorted((rng.randint(0, len(data)), rng.randint(0, len(data))))
    data[a : a + count], data[b : b + count] = data[b : b + count], data[a : a + count]


def number(data: bytearray, rng: random.Random) -> None:
    """Put an extreme number in the place of a byte or two, or of four."""
    at, value = rng.randint(0, len(data)), rng.choice(EXTREMES)
    if rng.random() < 0.7:
        data[at : at + rng.choice((0, 1, 2))] = varint(value)
    else:
        data[at : at + 4] = struct.pack("<I", value & 0xFFFFFFFF)


MUTATIONS = (flips, cut, insert, swap, number)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return the bytes with one to three raw mutations."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        rng.choice(MUTATIONS)(out, rng)
    return bytes(out)


@dataclass(frozen=True)
class Record:
    """A record without its CRC: magic and version or kind, its numbers (the last is the content's length), its content."""

    head: bytes
    numbers: tuple[int, ...]
    content: bytes

    def to_bytes(self) -> bytes:
        """Return the record with its CRC."""
        data = self.head + b"".join(map(varint, self.numbers)) + self.content
        return data + struct.pack("<I", crc32c(data))


def split_records(data: bytes) -> list[Record]:
    """Return the records of a whole token file, the footer left out."""
    source = Source(io.BytesIO(data))
    header = read_header(source)
    end, records = source.position, []
    source.jump(0)
    while source.position < len(data) - 8:
        head = source.read(1 if records else 5, "record")
        count = 2 + len(header.frame_rates) + bool(header.side) if head[0] >= 0x10 and records else 1
        numbers = tuple(source.number((1 << 63) - 1, "record", "number") for _ in range(count))
        records.append(Record(head, numbers, source.read(numbers[-1], "record")))
        source.read(4, "record")
    assert len(records[0].to_bytes()) == end
    return records


def join_records(records: list[Record]) -> bytes:
    """Return the file of these records: each with its CRC, and the footer."""
    parts = [record.to_bytes() for record in records]
    return b"".join(parts) + struct.pack("<I", len(parts[-1])) + b"KOT\xff"


def mutate_record(record: Record, rng: random.Random) -> Record:
    """Return the record with another kind, number or content; the length is mostly made right again."""
    part = rng.random()
    if part < 0.1:
        return replace(
            record, head=bytes([rng.choice((1, 2, *range(16, 24), rng.randrange(256)))]) if len(record.head) == 1 else b""
        )
    if part < 0.35:
        i = rng.randrange(len(record.numbers))
        value = rng.choice((*EXTREMES, *(abs(record.numbers[i] + step) for step in (-2, -1, 1, 2))))
        return replace(record, numbers=(*record.numbers[:i], value, *record.numbers[i + 1 :]))
    content = bytearray(record.content)
    rng.choice(MUTATIONS)(content, rng)
    length = len(content) if rng.random() < 0.9 else record.numbers[-1]
    return Record(record.head, (*record.numbers[:-1], length), bytes(content))


def mutate_inside(records: list[Record], rng: random.Random) -> bytes:
    """Return a file of which records were mutated, dropped, doubled or moved, with every checksum right."""
    out = list(records)
    for _ in range(rng.choice((1, 1, 1, 2))):
        i = rng.randrange(len(out))
        action = rng.random()
        if action < 0.9:
            out[i] = mutate_record(out[i], rng)
        elif action < 0.94 and len(out) > 2:
            del out[i]
        elif action < 0.97:
            out.insert(rng.randint(0, len(out)), out[i])
        else:
            j = rng.randrange(len(out))
            out[i], out[j] = out[j], out[i]
    return join_records(out)
