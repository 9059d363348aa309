"""Writing token files, any number of frames at a time, to a path or a stream that cannot seek."""

import math
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self

import numpy as np

from .errors import ShapeError, TokenFileError
from .files import atomic_path
from .pieces import Piece, piece_of
from .tokenfile_bytes import checked, varint
from .tokenfile_chunk import TABLE, Chunk, chunk_record, encode_chunk, literals_of, repeat_weights
from .tokenfile_header import MAX_CODES, MAX_FRAMES, Header
from .tokenfile_index import Index
from .tokenfile_tables import MAX_TABLE, Learner, Tables

if TYPE_CHECKING:
    from .tokens import Tokens

TARGET_BYTES = 3072  # packed bytes of a chunk: what a chunk costs beside its codes stays under half a percent
MAX_SECONDS = 60.0


class TokenWriter:
    """Writes one item's tokens piece by piece.

    A path appears when the file is whole and never before; a file object gets each chunk as soon as it is full, and
    is flushed. Memory stays constant but for three bytes of index per chunk.

        with TokenWriter("speech.tok") as writer:
            writer.write(encoder.push_tokens(audio))
            writer.write(encoder.flush_tokens())

    Args:
        target: a path, or a binary file object open for writing.
        like: tokens that give the header; by default the first piece written does.
        encoding: "entropy" (each chunk packed or entropy-coded, whichever is smaller) or "packed".
        chunk_seconds: audio per chunk; by default as much as makes about 3 kB, from 1 to 60 s.
        n_samples: samples of the whole, for the header, where they are known already.
        metadata: strings to add to the tokens' own.

    Raises:
        TokenFileError: if the target cannot be written, or the tokens are more than the format holds.
    """

    def __init__(
        self,
        target: str | Path | BinaryIO,
        like: "Tokens | None" = None,
        *,
        encoding: str = "entropy",
        chunk_seconds: float | None = None,
        n_samples: int | None = None,
        metadata: dict[str, str] | None = None,
    ) -> None:
        if encoding not in ("packed", "entropy"):
            raise ShapeError(f'encoding must be "entropy" or "packed"; got {encoding!r}')
        if chunk_seconds is not None and not chunk_seconds > 0:
            raise ShapeError(f"chunk_seconds must be more than 0; got {chunk_seconds}")
        self._encoding, self._chunk_seconds, self._known, self._metadata = encoding, chunk_seconds, n_samples, metadata or {}
        self._header: Header | None = None
        self._closed, self._frame, self._n_samples, self._index = False, 0, 0, Index()
        self._stack = ExitStack()
        self._name = str(target) if isinstance(target, str | Path) else getattr(target, "name", "the output")
        self._file, self._live = self._open(target)
        if like is not None:
            try:
                self._begin(Header.of(like))
            except BaseException:
                self.abort()
                raise

    @property
    def header(self) -> Header:
        """What the file says before its codes.

        Raises:
            TokenFileError: if neither `like` nor a piece was given yet.
        """
        if self._header is None:
            raise TokenFileError(f"{self._name} has no header yet: pass like=, or write a piece first")
        return self._header

    def write(self, tokens: "Tokens | Piece") -> None:
        """Add the frames of a piece of one item, in tensors or arrays.

        The `n_samples` of all pieces add up to the file's, unless `close` is given another number: pieces of a
        `StreamEncoder` hold 0 but for the last, pieces cut by `Tokens.frames` hold their own.

        Raises:
            ShapeError: if the piece has another layout than the file, or codes out of range.
            TokenFileError: if the target cannot be written.
        """
        if self._closed:
            raise TokenFileError(f"{self._name} was closed: open another writer")
        piece = tokens if isinstance(tokens, Piece) else _only_item(tokens)
        if self._header is None:
            self._begin(piece.header)
        self._take(piece)
        self._n_samples += piece.n_samples
        self._drain(self._per_chunk)

    def flush(self) -> None:
        """Write the whole frames that are waiting as a short chunk, so that a reader gets them now."""
        if self._header is not None:
            whole = min(n // ratio for n, ratio in zip(self._waiting(), self.header.ratios, strict=True))
            whole -= whole % max(1, self.header.side_period)
            if whole:
                self._drain(whole)

    def learn(self, tokens: "Tokens") -> None:
        """Look at all tokens before the first is written: tables that pay for themselves then serve from the start."""
        piece = piece_of(tokens)
        if self._header is None:
            self._begin(piece.header)
        if self._learner is None or self._frame:
            return
        learner = Learner(self.header.sizes)
        for chunk in self._cut(_checked(piece), {}, self._per_chunk, last=True)[0]:
            self._count(learner, chunk, repeat_weights(chunk, self.header.sizes))
        self._use(learner.whole())
        self._learner = None

    def close(self, n_samples: int | None = None) -> None:
        """End the file; `n_samples` is how many samples its codes stand for, by default the sum of the pieces'.

        Raises:
            TokenFileError: if nothing said what is in the file, or it cannot be written.
        """
        if self._closed:
            return
        header = self.header
        self._drain(self._per_chunk)
        self._drain_left(self._per_chunk)
        total = self._n_samples if n_samples is None else n_samples
        if header.n_samples not in (None, total):
            raise ShapeError(f"the header says {header.n_samples} samples and {total} were written: pass the right n_samples")
        self._index.n_samples, self._index.totals = total, tuple(self._totals)
        self._put(self._index.to_record())
        self._closed = True
        self._finish()

    def abort(self) -> None:
        """Give the file up: a path is left as it was, a stream ends without its end record."""
        if not self._closed:
            self._closed = True
            with suppress(OSError):  # closing writes what is buffered: on a full disk it fails once more, to no loss
                self._stack.__exit__(TokenFileError, TokenFileError("aborted"), None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            self.abort()

    # -- the target ---------------------------------------------------------------------------------------------

    def _open(self, target: str | Path | BinaryIO) -> tuple[BinaryIO, bool]:
        if not isinstance(target, str | Path):
            return target, True
        try:
            return self._stack.enter_context(open(self._stack.enter_context(atomic_path(target)), "wb")), False
        except OSError as error:
            raise self._cannot(error) from None

    def _put(self, data: bytes) -> None:
        try:
            self._file.write(data)
            if self._live:
                self._file.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise self._cannot(error) from None

    def _finish(self) -> None:
        try:
            self._stack.close()
        except OSError as error:
            raise self._cannot(error) from None

    def _cannot(self, error: OSError) -> TokenFileError:
        return TokenFileError(f"{self._name} cannot be written ({error.strerror or error}): choose another place, or make room")

    # -- frames -------------------------------------------------------------------------------------------------

    def _begin(self, like: Header) -> None:
        metadata = {**like.metadata, **self._metadata}
        header = replace(like, n_samples=self._known, encoding=self._encoding, metadata=metadata).checked()
        self._header, self._per_chunk = header, chunk_frames(header, self._chunk_seconds)
        self._rows: list[list[np.ndarray]] = [[] for _ in header.frame_rates]
        self._side: dict[str, list[np.ndarray]] = {name: [] for name in header.side}
        self._totals = [0] * len(header.frame_rates)
        self._tables = Tables(header.sizes)
        learnable = self._encoding == "entropy" and sum(header.sizes) <= MAX_TABLE and self._tables.codable
        self._learner = Learner(header.sizes) if learnable else None
        record = header.to_record()
        self._start = len(record)
        self._put(record)

    def _take(self, piece: Piece) -> None:
        like = replace(piece.header, n_samples=self._known, encoding=self._encoding, metadata=self.header.metadata)
        if like != self.header:
            raise ShapeError(f"a piece must have the codec, weights, rates and codebooks that {self._name} began with")
        arrays = _checked(piece)
        self._check_side(piece)
        for waiting, codes in zip(self._rows, arrays, strict=True):
            waiting.append(codes)
        for name, waiting in self._side.items():
            waiting.append(piece.side[name])

    def _check_side(self, piece: Piece) -> None:
        """Refuse a piece whose side numbers are not those of its frames; a segment may be shorter than the period."""
        period, frames = max(1, self.header.side_period), piece.streams[self.header.slow].shape[1]
        counts = {len(values) for values in piece.side.values()}
        if any(not -(-frames // period) <= count <= frames for count in counts):
            raise ShapeError(f"a piece must hold one side number per segment of up to {period} frames")
        if len(counts) > 1:
            raise ShapeError("side numbers of all names must be equally many")

    def _waiting(self) -> list[int]:
        return [sum(piece.shape[1] for piece in waiting) for waiting in self._rows]

    def _drain(self, per_chunk: int) -> None:
        """Write the chunks that are full."""
        if self._waiting()[self.header.slow] >= per_chunk:
            self._write_chunks(per_chunk, last=False)

    def _drain_left(self, per_chunk: int) -> None:
        """Write what is left, as the last chunks."""
        if any(self._waiting()):
            self._write_chunks(per_chunk, last=True)

    def _write_chunks(self, per_chunk: int, last: bool) -> None:
        streams = [np.concatenate(waiting, axis=1) for waiting in self._rows]
        side = {name: np.concatenate(waiting) for name, waiting in self._side.items()}
        chunks, left, side_left = self._cut(streams, side, per_chunk, last)
        for chunk in chunks:
            self._write_chunk(chunk)
        self._rows = [[codes] for codes in left]
        self._side = {name: [values] for name, values in side_left.items()}

    def _cut(
        self, streams: list[np.ndarray], side: dict[str, np.ndarray], per_chunk: int, last: bool
    ) -> tuple[list[Chunk], list[np.ndarray], dict[str, np.ndarray]]:
        """Return the chunks of `per_chunk` frames that are there, and what is left over; at the end nothing is."""
        chunks, ratios, slow, period = [], self.header.ratios, self.header.slow, max(1, self.header.side_period)
        while _has_chunk(streams, ratios, per_chunk, last):
            surplus = any(len(values) > -(-streams[slow].shape[1] // period) for values in side.values())
            if surplus and not last and streams[slow].shape[1] == per_chunk:
                break  # a segment was cut short: the last chunk will take its number along
            parts = [codes[:, : per_chunk * ratio] for codes, ratio in zip(streams, ratios, strict=True)]
            streams = [codes[:, per_chunk * ratio :] for codes, ratio in zip(streams, ratios, strict=True)]
            segments = per_chunk // period if streams[slow].shape[1] else MAX_FRAMES
            chunks.append(Chunk(tuple(parts), tuple(values[:segments] for values in side.values())))
            side = {name: values[segments:] for name, values in side.items()}
        return chunks, streams, side

    def _write_chunk(self, chunk: Chunk) -> None:
        header, slow = self.header, chunk.frames[self.header.slow]
        weights = repeat_weights(chunk, header.sizes) if header.encoding == "entropy" else [0] * len(header.sizes)
        kind, content = encode_chunk(chunk, header, self._tables, weights)
        record = chunk_record(kind, self._frame, chunk, content)
        self._put(record)
        self._index.add(len(record), slow)
        self._frame += slow
        self._totals = [total + n for total, n in zip(self._totals, chunk.frames, strict=True)]
        if self._learner is not None:
            self._count(self._learner, chunk, weights)
            self._use(self._learner.proven(self._tables))

    def _count(self, learner: Learner, chunk: Chunk, weights: Sequence[int]) -> None:
        literals = [literals_of(row, weight) for row, weight in zip(chunk.rows, weights, strict=True)]
        learner.add(literals, max(chunk.frames))

    def _use(self, tables: Tables | None) -> None:
        if tables is not None:
            content = tables.to_bytes()
            record = checked(bytes([TABLE]) + varint(len(content)) + content)
            self._put(record)
            self._index.add(len(record), None)
            self._tables = tables


def _only_item(tokens: "Tokens") -> Piece:
    if tokens.batch != 1:
        raise ShapeError(f"a .tok file holds one item and these tokens {tokens.batch}: write tokens[i]")
    return piece_of(tokens)


def _checked(piece: Piece) -> list[np.ndarray]:
    """Return the streams of a piece whose codes are in their codebooks."""
    for codes, sizes in zip(piece.streams, piece.header.codebook_sizes, strict=True):
        for row, size in zip(codes, sizes, strict=True):
            if len(row) and not 0 <= row.min() <= row.max() < size:
                raise ShapeError(f"codes must be from 0 to {size - 1}; got {row.min()} to {row.max()}")
    return list(piece.streams)


def _has_chunk(streams: Sequence[np.ndarray], ratios: Sequence[int], per_chunk: int, last: bool) -> bool:
    if last:
        return any(codes.shape[1] for codes in streams)
    return all(codes.shape[1] >= per_chunk * ratio for codes, ratio in zip(streams, ratios, strict=True))


def chunk_frames(header: Header, seconds: float | None) -> int:
    """Return how many frames of the slowest stream a chunk holds: whole segments, within the format's limits."""
    rate = header.frame_rates[header.slow]
    if seconds is None:
        seconds = min(MAX_SECONDS, max(1.0, TARGET_BYTES * 8 / header.bits_per_frame / rate))
    period = max(1, header.side_period)
    codes = sum(ratio * len(sizes) for ratio, sizes in zip(header.ratios, header.codebook_sizes, strict=True))
    most = min(MAX_CODES // codes, MAX_FRAMES // max(header.ratios))
    frames = math.ceil(min(seconds * rate, most) / period) * period
    return max(period, min(frames, most - most % period))


def write_tok(tokens: "Tokens", target: str | Path | BinaryIO, **options) -> None:
    """Write the tokens of one item; `options` are those of `TokenWriter`.

    Raises:
        ShapeError: if there is more than one item.
        TokenFileError: if the target cannot be written.
    """
    if tokens.batch != 1:
        raise ShapeError(f"a .tok file holds one item and these tokens {tokens.batch}: save each by tokens[i].save(path)")
    with TokenWriter(target, tokens, n_samples=int(tokens.n_samples[0]), **options) as writer:
        writer.learn(tokens)
        writer.write(tokens)
