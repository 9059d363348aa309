"""The end of a token file: how long the audio is, and where each chunk lies."""

import struct
from array import array
from dataclasses import dataclass, field

from .errors import TokenFileError
from .tokenfile_bytes import Fields, Source, checked, varint
from .tokenfile_chunk import END
from .tokenfile_header import MAX_FRAMES, Header

FOOTER = b"KOT\xff"
FOOTER_BYTES = 8
MAX_END = 1 << 28  # bytes of the last record
MIN_RECORD = 7  # bytes
SAME, FRAMES, TABLE_ENTRY = 0, 1, 2  # kinds of entry


@dataclass
class Index:
    """Lengths of the records of a file, in order: chunks (with their frames of the slowest stream) and tables.

    Attributes:
        n_samples: samples that the codes stand for.
        totals: frames of each stream.
        lengths: bytes of each record.
        frames: frames of the slowest stream of each record, -1 for a table.
    """

    n_samples: int = 0
    totals: tuple[int, ...] = ()
    lengths: array = field(default_factory=lambda: array("Q"))
    frames: array = field(default_factory=lambda: array("l"))

    def add(self, length: int, frames: int | None) -> None:
        """Note one more record."""
        self.lengths.append(length)
        self.frames.append(-1 if frames is None else frames)

    def to_record(self) -> bytes:
        """Return the file's last bytes: the end record, then the footer that says how long that record is."""
        content = b"".join(map(varint, (self.n_samples, *self.totals, len(self.lengths)))) + self._entries()
        record = checked(bytes([END]) + varint(len(content)) + content)
        return record + struct.pack("<I", len(record)) + FOOTER

    def _entries(self) -> bytes:
        out, before = bytearray(), 0
        for length, frames in zip(self.lengths, self.frames, strict=True):
            if frames < 0:
                out += varint(length << 2 | TABLE_ENTRY)
            elif frames == before:
                out += varint(length << 2 | SAME)
            else:
                out += varint(length << 2 | FRAMES) + varint(frames)
                before = frames
        return bytes(out)

    def find(self, frame: int, start: int) -> tuple[int, int, int | None]:
        """Return the byte and the first frame of the chunk that holds `frame`, and the byte of the table in force there.

        Args:
            frame: of the slowest stream; beyond the last, the end record's byte is returned.
            start: byte of the first record.
        """
        at, first, table = start, 0, None
        for length, frames in zip(self.lengths, self.frames, strict=True):
            if frames < 0:
                table = at
            elif frame < first + frames:
                return at, first, table
            else:
                first += frames
            at += length
        return at, first, table


def read_end(source: Source, header: Header) -> Index:
    """Read the end record, whose kind has been read, and the footer.

    Raises:
        TokenFileError: if they are cut, damaged or not followed by the file's end.
    """
    start = source.start
    length = source.number(MAX_END, "end record", "the length of its content")
    at = source.position
    content = source.read(length, "end record")
    source.check_crc("end record")
    index = _parse(Fields(content, at, "end record"), header, start)
    size = source.position - start
    footer = source.read(FOOTER_BYTES, "footer")
    if footer != struct.pack("<I", size) + FOOTER:
        raise TokenFileError(f"the footer at byte {source.position - FOOTER_BYTES} is damaged: the codes before it are whole")
    if source.read_some(1):
        raise TokenFileError(f"bytes follow the end of the token file, at byte {source.position - 1}: cut them off")
    return index


def _parse(fields: Fields, header: Header, before_end: int) -> Index:
    n_samples = fields.number((1 << 63) - 2, name="the number of samples")
    index = Index(n_samples, tuple(fields.number(name="a number of frames") for _ in header.frame_rates))
    if header.n_samples not in (None, n_samples):
        raise fields.fail(f"it counts {n_samples} samples, and the header {header.n_samples}")
    before = 0
    most = before_end // MIN_RECORD
    for _ in range(fields.number(most, name="the number of records")):
        entry = fields.number(name="an entry")
        if entry & 3 == FRAMES:
            before = fields.number(MAX_FRAMES, name="the frames of a chunk")
        elif entry & 3 > TABLE_ENTRY:
            raise fields.fail("an entry is of no known kind")
        if not MIN_RECORD <= entry >> 2 <= before_end:
            raise fields.fail("a record's length is out of range")
        index.add(entry >> 2, None if entry & 3 == TABLE_ENTRY else before)
    fields.end()
    return index
