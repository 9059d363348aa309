"""Files to tokens and back in constant memory: what encode, decode, roundtrip and play have in common.

Imports numpy: commands import this module when they run.
"""

import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np

from toneme.cli.failures import complain
from toneme.cli.files import STANDARD
from toneme.cli.progress import progress
from toneme.codecs.audio_reading import AudioReader
from toneme.codecs.audio_wav import quantise, to_bytes
from toneme.codecs.coder import Coder
from toneme.codecs.errors import AudioError
from toneme.codecs.pieces import Piece

if TYPE_CHECKING:
    from toneme.cli.sources import TokenSource

BLOCK_SECONDS = 10.0  # long blocks keep the processor busy, and 10 s at 48 kHz stereo are 4 MB


def choose_depth(codec: Coder, codebooks: int | None, bitrate: float | None) -> int:
    """Return the number of codebooks that the options ask for.

    Raises:
        ShapeError: if the codec cannot do that.
    """
    return codec.spec.codebooks_for(bitrate) if bitrate is not None else codec.spec.check_codebooks(codebooks)


class Audio:
    """An audio file in blocks [channels, samples] that a codec takes, with progress and a word on what is wrong with it.

    Args:
        source: a path or `STANDARD`.
        codec: whose rate and channels the blocks get.
        salvage: take a file that ends before its header says, with a warning instead of an error.
        seen: is called with each block [channels, samples].
    """

    def __init__(
        self, source: Path, codec: Coder, salvage: bool, seen: Callable[[np.ndarray], None] = lambda block: None
    ) -> None:
        self.source, self.codec, self.salvage, self.seen = source, codec, salvage, seen
        self.n_samples = self.clipped = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the blocks.

        Raises:
            AudioError: if the file is damaged, cut, without samples, or holds NaN or infinity.
        """
        spec = self.codec.spec
        with warnings.catch_warnings(), AudioReader(str(self.source), spec.sample_rate, spec.channels, BLOCK_SECONDS) as reader:
            warnings.simplefilter("ignore")
            with progress(self.source.name, reader.n_samples) as advance:
                for block in reader.blocks():
                    self.n_samples += block.shape[-1]
                    self.seen(block)
                    yield block
                    advance(block.shape[-1])
            if not self.n_samples:
                raise AudioError(f"{reader.name} holds no samples: record or fetch it again")
            self._check_end(reader)

    def _check_end(self, reader: AudioReader) -> None:
        self.clipped = reader.clipped
        if not reader.truncated:
            return
        there = self.n_samples / reader.sample_rate
        seconds = f"{reader.name} ends early: its header claims more than the {there:.3f} s that are there"
        if not self.salvage:
            raise AudioError(f"{seconds}; fetch it again, or take what is there with --salvage")
        complain(f"warning: {seconds}")


def encode_blocks(codec: Coder, blocks: Audio, codebooks: int) -> Iterator[Piece]:
    """Yield the codes of audio piece by piece; the last piece knows the number of samples."""
    encoding = codec.encoding(codebooks)
    for block in blocks:
        yield encoding.push(block)
    yield encoding.flush()


def decode_pieces(
    codec: Coder,
    pieces: Iterable[Piece],
    length: Callable[[], int | None],
    any_weights: bool = False,
    chunk_seconds: float | None = None,
) -> Iterator[np.ndarray]:
    """Yield audio [channels, samples], in all exactly the samples that the codes stand for.

    Args:
        codec: that made the codes.
        pieces: of one item, in order.
        length: gives the samples of the whole as soon as they are known, and at the end. Until then the last frame's audio
            is held back, since the frame may reach beyond the end.
        any_weights: decode though other weights made the codes.
        chunk_seconds: audio that a codec which is not causal sounds at once.
    """
    decoding = codec.decoding(chunk_seconds)
    held, given = np.zeros((codec.spec.channels, 0), np.float32), 0
    frames = [0] * len(codec.spec.streams)
    slowest = max(stream.hop for stream in codec.spec.streams)
    for piece in pieces:
        codec.check(piece.header, any_weights)
        held = np.concatenate([held, decoding.push(piece)], axis=-1)
        frames = [total + codes.shape[-1] for total, codes in zip(frames, piece.streams, strict=True)]
        known = length()
        sure = codec.max_samples(tuple(frames)) - slowest if known is None else known
        ready = max(0, min(held.shape[-1], sure - given))
        if ready:
            yield held[:, :ready]
        held, given = held[:, ready:], given + ready
    held = np.concatenate([held, decoding.flush()], axis=-1)
    codec.check_length(length() or 0, tuple(frames))
    left = max(0, (length() or 0) - given)
    if left:
        yield np.pad(held, ((0, 0), (0, max(0, left - held.shape[-1]))))[:, :left]


def decode_source(codec: Coder, source: "TokenSource", any_weights: bool = False) -> tuple[int, Iterator[np.ndarray]]:
    """Return the channels of a token file, and its audio as `decode_pieces` gives it; of a `.dac` file all at once."""
    if source.compressed is None:
        return codec.spec.channels, decode_pieces(codec, source, source.length, any_weights)
    from toneme.codecs.dac_decompress import decompress

    audio = decompress(codec.as_codec(), source.compressed, any_weights)[0].numpy()
    return len(audio), iter([audio])


@contextmanager
def open_sink(target: Path) -> Iterator[BinaryIO | Path]:
    """Yield what a writer of tokens takes: stdout, an open device or pipe (never replaced by a file), or the path itself."""
    if target == STANDARD:
        yield sys.stdout.buffer
    elif target.exists() and not target.is_file():
        with target.open("wb", buffering=0) as device:  # nothing is left to fail once more when a full device is closed
            yield cast(BinaryIO, device)
    else:
        yield target.resolve()


class CountingSink:
    """Counts the bytes written and passes them on where there is somewhere to."""

    def __init__(self, inner: BinaryIO | None = None) -> None:
        self.inner, self.n_bytes = inner, 0
        self.name = str(getattr(inner, "name", "the output"))

    def write(self, data: bytes) -> int:
        self.n_bytes += len(data)
        return self.inner.write(data) if self.inner else len(data)

    def flush(self) -> None:
        if self.inner:
            self.inner.flush()


class Clock:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self.start = time.perf_counter()

    @property
    def seconds(self) -> float:
        return max(time.perf_counter() - self.start, 1e-9)


def summary(codec: Coder, codebooks: int, n_samples: int, n_bytes: int | None, clock: Clock) -> dict[str, Any]:
    """Return the figures of one coded file: plain JSON types."""
    seconds = n_samples / codec.spec.sample_rate
    return {
        "codec": codec.name,
        "codebooks": codebooks,
        "seconds": round(seconds, 6),
        "samples": n_samples,
        "sample_rate": codec.spec.sample_rate,
        "bytes": n_bytes,
        "kbps": round(n_bytes * 8 / seconds / 1000, 4) if n_bytes and seconds else None,
        "nominal_kbps": round(codec.spec.bitrate(codebooks), 4),
        "realtime_factor": round(seconds / clock.seconds, 2),
    }


def with_progress(blocks: Iterable[np.ndarray], label: str, n_samples: int | None) -> Iterator[np.ndarray]:
    """Pass audio [channels, samples] on, showing how far it is."""
    with progress(label, n_samples) as advance:
        for block in blocks:
            yield block
            advance(block.shape[-1])


def note_clipping(audio: Audio) -> None:
    """Say so where the input touches full scale so often that it was probably clipped."""
    if audio.clipped > max(10, audio.n_samples // 10_000):
        complain(f"warning: {audio.source}: {audio.clipped} samples at full scale, so the recording was probably clipped")


def note_clipped_output(target: Path, clipped: int) -> None:
    """Say so where decoded audio went beyond what integers hold."""
    if clipped:
        complain(f"warning: {target}: {clipped} samples beyond full scale were clipped; --bits float keeps them")


def pcm_bytes(block: np.ndarray, encoding: str) -> bytes:
    """Return audio [channels, samples] as bare samples, "s16le" (clipped) or "f32le"."""
    frames = np.ascontiguousarray(block.T)
    return to_bytes(quantise(frames, 16) if encoding == "s16le" else frames, encoding)
