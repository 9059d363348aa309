"""The header of a token file: who made the codes, and how they lie."""

import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .bitpack import width_of
from .errors import TokenFileError
from .tokenfile_bytes import Fields, Source, checked, string, varint

if TYPE_CHECKING:
    from .tokens import Tokens

MAGIC = b"\xffTOK"
VERSION = 1
MAX_HEADER = 1 << 20  # bytes
MAX_STREAMS = 16
MAX_CODEBOOKS = 1024  # streams joined
MAX_SIZE = 1 << 30  # entries of a codebook
MAX_NAME = 255  # bytes of a name
MAX_TEXT = 1 << 16  # bytes of a metadata value
MAX_ENTRIES = 256  # metadata entries
MAX_SIDE = 8
MAX_SIDE_PERIOD = 1 << 16
MAX_CODES = 1 << 20  # codes of a chunk, streams joined
MAX_FRAMES = 1 << 16  # frames of a chunk, per stream
ENCODINGS = ("packed", "entropy")  # entropy: chunks are packed or entropy-coded, whichever is smaller


@dataclass(frozen=True)
class Header:
    """What a token file says before its codes.

    Attributes:
        codec: name of the codec that made the codes.
        weights_hash: hash of its weights, or "".
        sample_rate: Hz.
        channels: audio channels.
        frame_rates: Hz, one per stream.
        codebook_sizes: one tuple per stream.
        n_samples: samples that the codes stand for, None where the writer did not know yet.
        side: names of the numbers that travel with the codes.
        side_period: frames of the slowest stream per side number.
        encoding: "packed", or "entropy" where chunks may be entropy-coded.
        metadata: the user's own strings.
    """

    codec: str
    weights_hash: str
    sample_rate: int
    channels: int
    frame_rates: tuple[float, ...]
    codebook_sizes: tuple[tuple[int, ...], ...]
    n_samples: int | None = None
    side: tuple[str, ...] = ()
    side_period: int = 0
    encoding: str = "entropy"
    metadata: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, tokens: "Tokens", encoding: str = "entropy", n_samples: int | None = None) -> "Header":
        """Return the header of a file for tokens like these.

        Raises:
            TokenFileError: if they exceed what the format holds.
        """
        header = cls(
            tokens.codec, tokens.weights_hash, tokens.sample_rate, tokens.channels, tuple(map(float, tokens.frame_rates)),
            tuple(tuple(map(int, sizes)) for sizes in tokens.codebook_sizes), n_samples,
            tuple(sorted(tokens.side)), tokens.side_period if tokens.side else 0, encoding, dict(tokens.metadata),
        )  # fmt: skip
        return header.checked()

    def checked(self) -> "Header":
        """Return the header if the format can hold it.

        Raises:
            TokenFileError: if a field is out of its range.
        """
        return parse_header(self.to_bytes(), 0)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sizes of all codebooks, streams joined."""
        return tuple(size for sizes in self.codebook_sizes for size in sizes)

    @property
    def slow(self) -> int:
        """Index of the slowest stream, whose frames count the time."""
        return min(range(len(self.frame_rates)), key=lambda i: self.frame_rates[i])

    @property
    def ratios(self) -> tuple[int, ...]:
        """Frames of each stream per frame of the slowest, rounded."""
        return tuple(max(1, min(round(rate / self.frame_rates[self.slow]), MAX_FRAMES)) for rate in self.frame_rates)

    @property
    def bits_per_frame(self) -> int:
        """Packed bits per frame of the slowest stream."""
        widths = [sum(map(width_of, sizes)) for sizes in self.codebook_sizes]
        return sum(ratio * width for ratio, width in zip(self.ratios, widths, strict=True))

    def sample_of(self, frame: int) -> int:
        """Return the sample at which a frame of the slowest stream begins."""
        return round(frame * self.sample_rate / self.frame_rates[self.slow])

    def to_bytes(self) -> bytes:
        """Return the header's content (without magic, length and CRC)."""
        n_samples = 0 if self.n_samples is None else self.n_samples + 1
        numbers = (self.sample_rate, self.channels, n_samples, ENCODINGS.index(self.encoding), len(self.frame_rates))
        out = string(self.codec) + string(self.weights_hash) + b"".join(map(varint, numbers))
        for rate, sizes in zip(self.frame_rates, self.codebook_sizes, strict=True):
            out += struct.pack("<d", rate) + _runs_to_bytes(sizes)
        out += varint(self.side_period) + varint(len(self.side)) + b"".join(map(string, self.side))
        pairs = self.metadata.items()
        return out + varint(len(pairs)) + b"".join(string(key) + string(value) for key, value in pairs)

    def to_record(self) -> bytes:
        """Return the first bytes of a file: magic, version, length, content, CRC32C."""
        content = self.to_bytes()
        return checked(MAGIC + bytes([VERSION]) + varint(len(content)) + content)


def _runs_to_bytes(sizes: Iterable[int]) -> bytes:
    runs: list[list[int]] = []
    for size in sizes:
        if runs and runs[-1][0] == size:
            runs[-1][1] += 1
        else:
            runs.append([size, 1])
    return varint(len(runs)) + b"".join(varint(size) + varint(count) for size, count in runs)


def read_header(source: Source) -> Header:
    """Read the first record of a file.

    Raises:
        TokenFileError: if it is not a token file's, of a newer version, cut or damaged.
    """
    source.begin()
    magic = source.read_some(len(MAGIC))
    if magic != MAGIC:
        if not magic:
            raise TokenFileError("the file is empty, it ends at byte 0: expected a token file, which begins with FF 54 4F 4B")
        if not MAGIC.startswith(magic):
            raise TokenFileError(
                f"this is not a token file: it begins with {magic.hex(' ').upper()} at byte 0 instead of FF 54 4F 4B"
            )
    version = source.read(len(MAGIC) - len(magic) + 1, "header")[-1]
    if version > VERSION:
        raise TokenFileError(
            f"this token file has version {version}, at byte {len(MAGIC)}, and this program reads up to version {VERSION}: "
            "install a newer toneme to read it"
        )
    if not version:
        raise TokenFileError(f"the header is not valid: version 0 at byte {len(MAGIC)}; versions begin at 1")
    length = source.number(MAX_HEADER, "header", "its length")
    at = source.position
    content = source.read(length, "header")
    source.check_crc("header")
    return parse_header(content, at)


def parse_header(content: bytes, offset: int) -> Header:
    """Return the header whose content begins at byte `offset`.

    Raises:
        TokenFileError: if a field is out of its range.
    """
    fields = Fields(content, offset, "header")
    codec, weights_hash = fields.string(MAX_NAME, "the codec's name"), fields.string(MAX_NAME, "the weights hash")
    sample_rate = fields.number(1 << 31, 1, "the sample rate")
    channels = fields.number(1 << 16, 1, "the number of channels")
    n_samples = fields.number(name="the number of samples") - 1
    encoding = ENCODINGS[fields.number(len(ENCODINGS) - 1, name="the encoding")]
    streams = [_stream(fields) for _ in range(fields.number(MAX_STREAMS, 1, "the number of streams"))]
    if not 1 <= sum(len(sizes) for _, sizes in streams) <= MAX_CODEBOOKS:
        raise fields.fail(f"there must be 1 to {MAX_CODEBOOKS} codebooks")
    side_period = fields.number(MAX_SIDE_PERIOD, name="the side period")
    names = fields.number(MAX_SIDE, name="the number of side names")
    side = tuple(fields.string(MAX_NAME, "a side name") for _ in range(names))
    if len(set(side)) != len(side) or bool(side) != bool(side_period):
        raise fields.fail("side names must differ, and come with a period")
    header = Header(
        codec, weights_hash, sample_rate, channels, tuple(rate for rate, _ in streams), tuple(sizes for _, sizes in streams),
        None if n_samples < 0 else n_samples, side, side_period, encoding, _metadata(fields),
    )  # fmt: skip
    fields.end()
    period = max(1, side_period)
    codes = period * sum(ratio * len(sizes) for ratio, sizes in zip(header.ratios, header.codebook_sizes, strict=True))
    if codes > MAX_CODES or period * max(header.ratios) > MAX_FRAMES:
        raise fields.fail(f"a chunk holds at most {MAX_CODES} codes, and one of these needs {codes}")
    return header


def _stream(fields: Fields) -> tuple[float, tuple[int, ...]]:
    rate = fields.float64()
    if not (math.isfinite(rate) and 1e-6 <= rate <= 1e9):
        raise fields.fail(f"a frame rate must be from 1e-6 to 1e9 Hz, got {rate}")
    sizes: list[int] = []
    for _ in range(fields.number(MAX_CODEBOOKS, name="the number of runs of codebooks")):
        size = fields.number(MAX_SIZE, 1, "the size of a codebook")
        sizes += [size] * fields.number(MAX_CODEBOOKS - len(sizes), 1, "the number of codebooks of one size")
    return rate, tuple(sizes)


def _metadata(fields: Fields) -> dict[str, str]:
    count = fields.number(MAX_ENTRIES, name="the number of metadata entries")
    pairs = [(fields.string(MAX_NAME, "a metadata key"), fields.string(MAX_TEXT, "a metadata value")) for _ in range(count)]
    if len(dict(pairs)) != count:
        raise fields.fail("metadata keys must differ")
    return dict(pairs)
