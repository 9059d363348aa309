"""WAV headers and PCM bytes: what a stream that cannot be rewound needs, beside libsndfile for everything else.

Sources: "Multimedia Programming Interface and Data Specifications 1.0" (RIFF), Microsoft's WAVEFORMATEXTENSIBLE, and
EBU Tech 3306 (RF64).
"""

import struct
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .errors import AudioError

UNKNOWN = 0xFFFFFFFF  # in a size field: the writer could not know
_OPEN_ENDED = range(0x7FFFF000, 0x80000001)  # what sox and arecord write into a pipe for the same reason
LARGEST = UNKNOWN - 1  # bytes that a RIFF file can hold
_EXTENSIBLE = 0xFFFE
_ENCODINGS = {(1, 8): "u8", (1, 16): "s16le", (1, 24): "s24le", (1, 32): "s32le", (3, 32): "f32le", (3, 64): "f64le"}
_BYTES = {name: bits // 8 for (_, bits), name in _ENCODINGS.items()}
_TAGS = {name: tag for (tag, _), name in _ENCODINGS.items()}


class ByteStream(Protocol):
    """Anything that gives bytes in order."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most `size` bytes; none at the end."""
        ...


@dataclass(frozen=True)
class PcmFormat:
    """How bare samples are laid out; channels are interleaved.

    Attributes:
        sample_rate: Hz.
        channels: interleaved in this order.
        encoding: one of u8, s16le, s24le, s32le, f32le, f64le.
    """

    sample_rate: int
    channels: int = 1
    encoding: str = "s16le"

    def __post_init__(self) -> None:
        if self.encoding not in _BYTES or not 1 <= self.channels <= 1024:
            raise AudioError(
                f"raw audio must have 1 to 1024 channels in one of {', '.join(_BYTES)}; got {self.channels} in {self.encoding}"
            )

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return _BYTES[self.encoding] * self.channels

    @property
    def full_scale(self) -> float:
        """The largest positive value that a sample can have; 1.0 for floats."""
        return 1.0 if self.encoding[0] == "f" else 1 - 2.0 ** (1 - 8 * _BYTES[self.encoding])


@dataclass(frozen=True)
class WavHeader:
    """What stands before the samples of a WAV file.

    Attributes:
        pcm: layout of the samples, or None where they are of a kind that only libsndfile reads (A-law, ADPCM).
        data_start: byte at which the samples begin.
        data_bytes: how many bytes of samples the header claims, or None where it does not know.
    """

    pcm: PcmFormat | None
    data_start: int
    data_bytes: int | None


def is_wav(head: bytes) -> bool:
    """Whether the first 12 bytes are those of a little-endian WAV file."""
    return head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE"


def read_header(stream: ByteStream, head: bytes = b"") -> WavHeader:
    """Read up to the first sample; the stream need not be seekable, and nothing is allocated by a claimed size.

    Args:
        stream: at the beginning of the file, or behind `head`.
        head: the first 12 bytes where they have been read.

    Raises:
        AudioError: if the stream ends first or the header is damaged.
    """
    head = head or _read(stream, 12)
    place, large, pcm, known = 12, None, None, False
    while True:
        name, size = struct.unpack("<4sI", _read(stream, 8))
        place += 8
        if name == b"data":
            if not known:
                raise AudioError("the WAV header is damaged: its samples come before its format; convert the file again")
            claimed = large if size == UNKNOWN and large is not None else size
            # Zero is what GStreamer writes into a pipe; where chunks follow the samples it is meant.
            open_ended = claimed == UNKNOWN or claimed in _OPEN_ENDED
            open_ended |= claimed == 0 and struct.unpack_from("<I", head, 4)[0] + 8 <= place
            return WavHeader(pcm, place, None if open_ended else claimed)
        content = _chunk(stream, size)
        place += size + size % 2
        if name == b"fmt ":
            pcm, known = _parse_format(content), True
        elif name == b"ds64" and len(content) >= 16:
            large = struct.unpack_from("<Q", content, 8)[0]


def make_header(pcm: PcmFormat, n_samples: int | None) -> bytes:
    """Return the header of a WAV file; `n_samples` per channel, None where it is not known yet."""
    is_float = pcm.encoding[0] == "f"
    size = _BYTES[pcm.encoding]
    rate, step = pcm.sample_rate, pcm.frame_bytes
    layout = struct.pack("<HHIIHH", _TAGS[pcm.encoding], pcm.channels, rate, rate * step, step, 8 * size)
    count = UNKNOWN if n_samples is None else n_samples
    chunks = _pack(b"fmt ", layout + (b"\0\0" if is_float else b""))
    if is_float:
        chunks += _pack(b"fact", struct.pack("<I", min(count, UNKNOWN)))
    data = UNKNOWN if n_samples is None else n_samples * pcm.frame_bytes
    whole = 4 + len(chunks) + 8 + data + data % 2
    if n_samples is not None and whole > LARGEST:
        raise AudioError(f"{n_samples} samples do not fit in a WAV file of at most 4 GiB: write .flac, .w64 or .rf64")
    return struct.pack("<4sI4s", b"RIFF", min(whole, UNKNOWN), b"WAVE") + chunks + struct.pack("<4sI", b"data", data)


def from_bytes(data: bytes, pcm: PcmFormat) -> np.ndarray:
    """Return samples float32 [n, channels] in [-1, 1] of whole frames of bytes."""
    if pcm.encoding == "s24le":
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        values = wide.view("<i4").ravel() / np.float32(2**31)
    elif pcm.encoding == "u8":
        values = (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128
    elif pcm.encoding[0] == "f":
        with np.errstate(over="ignore"):  # what overflows becomes infinite, and the reader refuses it
            values = np.frombuffer(data, f"<f{_BYTES[pcm.encoding]}").astype(np.float32)
    else:
        bits = 8 * _BYTES[pcm.encoding]
        values = np.frombuffer(data, f"<i{bits // 8}").astype(np.float32) / np.float32(2 ** (bits - 1))
    return values.astype(np.float32, copy=False).reshape(-1, pcm.channels)


def to_bytes(frames: np.ndarray, encoding: str) -> bytes:
    """Return the bytes of what `quantise` gave [n, channels]."""
    if encoding == "s24le":
        return np.ascontiguousarray(frames, "<i4").view(np.uint8).reshape(-1, 4)[:, 1:].tobytes()
    return frames.astype({"s16le": "<i2", "f32le": "<f4"}[encoding]).tobytes()


def quantise(frames: np.ndarray, bits: int) -> np.ndarray:
    """Round float samples to integers of 16 bits (int16) or 24 bits (the upper bytes of int32), clipped, without dither."""
    full = 2 ** (bits - 1)
    rounded = np.clip(np.rint(frames.astype(np.float64) * full), -full, full - 1)
    return rounded.astype(np.int16) if bits == 16 else rounded.astype(np.int32) << 8


def _pack(name: bytes, content: bytes) -> bytes:
    return struct.pack("<4sI", name, len(content)) + content


def _parse_format(content: bytes) -> PcmFormat | None:
    if len(content) < 16:
        raise AudioError("the WAV header is damaged: its format chunk is too short; convert the file again")
    tag, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", content)
    if tag == _EXTENSIBLE and len(content) >= 26:
        tag = struct.unpack_from("<H", content, 24)[0]
    encoding = _ENCODINGS.get((tag, bits))
    if encoding is None or channels == 0 or block != channels * bits // 8:
        return None
    return PcmFormat(rate, channels, encoding)


def _chunk(stream: ByteStream, size: int) -> bytes:
    """Read past a chunk and return its first kilobyte."""
    kept = _read(stream, min(size, 1024))
    left = size + size % 2 - len(kept)
    while left:
        left -= len(_read(stream, min(left, 1 << 16)))
    return kept


def _read(stream: ByteStream, size: int) -> bytes:
    data = read_fully(stream, size)
    if len(data) < size:
        raise AudioError("the WAV header is cut off: the file is incomplete, so fetch or write it again")
    return data


def read_fully(stream: ByteStream, size: int) -> bytes:
    """Read `size` bytes, or what there is before the end; pipes may give less at a time."""
    data = stream.read(size) or b""
    while len(data) < size and (more := stream.read(size - len(data))):
        data += more
    return data
