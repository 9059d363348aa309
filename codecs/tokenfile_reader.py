"""Reading token files: whole, piece by piece, from any second on, up to the damage, or only to check them."""

import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

import numpy as np

from .errors import TokenFileError
from .pieces import Piece
from .tokenfile_bytes import Source, is_seekable
from .tokenfile_chunk import CHUNK, END, KINDS, TABLE, Chunk, decode_chunk, read_chunk_start
from .tokenfile_header import read_header
from .tokenfile_index import FOOTER, FOOTER_BYTES, Index, read_end
from .tokenfile_tables import Tables, most_table_bytes

if TYPE_CHECKING:
    from .tokens import Tokens


@dataclass
class Report:
    """What `TokenReader.verify` found.

    Attributes:
        packed: chunks that are bit-packed.
        entropy: chunks that are entropy-coded.
        tables: table records.
        frames: whole frames of each stream.
        n_samples: samples that the file says its codes stand for, None where it does not say.
        size: bytes read.
        damage: what is wrong and at which byte, or None.
    """

    packed: int = 0
    entropy: int = 0
    tables: int = 0
    frames: tuple[int, ...] = ()
    n_samples: int | None = None
    size: int = 0
    damage: str | None = None


class TokenReader:
    """Reads a token file; iterating gives `Tokens` chunk by chunk, in constant memory. Their arrays, `pieces`, need no torch.

        with TokenReader("speech.tok") as reader:
            reader.seek(12.5)
            for piece in reader:
                decoder.push(piece)

    The `n_samples` of a piece are the samples that its frames stand for, cut to those of the whole where the whole is known:
    on a stream that cannot seek, only the end record says it, and `header.n_samples` is None until then.

    Args:
        source: a path, or a binary file object open for reading, which need not be able to seek.
        salvage: stop at the first damage instead of raising; `damage` then says what and where it was.
        head: bytes already taken from a file object that cannot seek.

    Raises:
        TokenFileError: if the file cannot be opened, or its header is not one.
    """

    def __init__(self, source: str | Path | BinaryIO, salvage: bool = False, head: bytes = b"") -> None:
        self.salvage = salvage
        self._owned = isinstance(source, str | Path)
        file = _open(source) if isinstance(source, str | Path) else source
        try:
            self._seekable = not head and is_seekable(file)
            self._source = Source(file, file.tell() if self._seekable else 0, head)
            self.header = read_header(self._source)
            self._first_byte = self._source.position
            self._restart()
            self.index = self._load_index() if self._seekable else None
        except BaseException:
            self._close(file)
            raise
        if self.index is not None:
            self.header = replace(self.header, n_samples=self.index.n_samples)

    @property
    def frame(self) -> int:
        """Frame of the slowest stream with which the next piece begins."""
        return max(self._frame, self._wanted)

    @property
    def seconds(self) -> float:
        """Time at which the next piece begins."""
        return self.frame / self.header.frame_rates[self.header.slow]

    def seek(self, seconds: float) -> float:
        """Go to the frame that holds this time, or to the end; return the time at which it begins.

        With side numbers the segment's first frame is taken. On a stream that cannot seek, only forward.

        Raises:
            TokenFileError: if the file is damaged, or a stream would have to go back.
        """
        header = self.header
        period = max(1, header.side_period)
        frame = int(max(0.0, seconds) * header.frame_rates[header.slow] + 1e-6) // period * period
        if self.index is not None:
            self._jump(frame)
        elif frame < self._frame and not self._seekable:
            raise TokenFileError(f"this stream cannot go back from frame {self._frame} to {frame}: read it from a file")
        elif frame < self._frame:
            self._source.jump(self._first_byte)
            self._restart()
        self._wanted = frame
        return self.seconds

    def __iter__(self) -> "Iterator[Tokens]":
        from .tokens import Tokens

        return map(Tokens.of, self.pieces())

    def next(self) -> "Tokens | None":
        """Return the tokens of the next chunk, or None at the end.

        Raises:
            TokenFileError: if the file is damaged there, unless this is a salvage.
        """
        return next(iter(self), None)

    def pieces(self) -> Iterator[Piece]:
        """Yield the chunks that are left.

        Raises:
            TokenFileError: if the file is damaged there, unless this is a salvage.
        """
        while (piece := self._next_whole()) is not None:
            yield piece

    def _next_whole(self) -> Piece | None:
        """Return the next chunk, or None at the end and where a salvage ends."""
        if self._ended is not None or self.damage:
            return None
        try:
            return self._next()
        except TokenFileError as error:
            if not self.salvage:
                raise
            self.damage = str(error)
            return None

    def read(self) -> "Tokens":
        """Return everything from here to the end.

        Raises:
            TokenFileError: if the file is damaged, unless this is a salvage.
        """
        from .tokens import Tokens

        self._begun = None
        pieces = list(self.pieces())
        first = self.frame if self._begun is None else self._begun
        return Tokens.of(self._joined(pieces, max(0, self._whole_samples() - self.header.sample_of(first))))

    def verify(self) -> Report:
        """Read everything, from the start where the file can seek, and report; damage is reported, not raised."""
        if self._seekable:
            self._source.jump(self._first_byte)
            self._restart()
        self._report = Report()
        damage = self.damage
        try:
            while damage is None and self._next() is not None:
                pass
        except TokenFileError as error:
            damage = str(error)
        self._report.frames, self._report.damage = tuple(self._totals), damage
        self._report.n_samples, self._report.size = self.header.n_samples, self._source.position
        return self._report

    def close(self) -> None:
        """Close the file, if it was opened here."""
        self._close(self._source.file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- records ------------------------------------------------------------------------------------------------

    def _restart(self) -> None:
        self.damage: str | None = None  # else nothing would be read after a seek to where the file is whole
        self._frame, self._wanted = 0, 0
        self._begun: int | None = None
        self._totals = [0] * len(self.header.frame_rates)
        self._tables = Tables(self.header.sizes)
        self._ended: Index | None = None
        self._counting = True
        self._report = Report()

    def _jump(self, frame: int) -> None:
        assert self.index is not None
        at, first, table = self.index.find(frame, self._first_byte)
        self._restart()
        if table is not None:
            self._source.jump(table)
            self._source.read(1, "table")
            self._read_table()
        self._source.jump(at)
        self._frame = first
        self._counting = False

    def _next(self) -> Piece | None:
        while True:
            self._source.begin()
            kind = self._source.read_some(1)
            if not kind:
                raise TokenFileError(
                    f"the file ends at byte {self._source.position} without its end record: it was cut short, or is still "
                    "being written; read what is whole with salvage"
                )
            if kind[0] == END:
                self._end(read_end(self._source, self.header))
                return None
            if kind[0] == TABLE and self.header.encoding == "entropy":
                self._read_table()
            elif kind[0] == CHUNK or (kind[0] in KINDS and self.header.encoding == "entropy"):
                piece = self._read_chunk(kind[0])
                if piece is not None:
                    return piece
            else:
                raise TokenFileError(
                    f"the record at byte {self._source.start} is of kind {kind[0]}, which a file of {self.header.encoding} "
                    "codes does not hold: it is damaged; read what comes before it with salvage"
                )

    def _read_table(self) -> None:
        sizes = self.header.sizes
        length = self._source.number(most_table_bytes(sizes), "table", "its length")
        start, at = self._source.start, self._source.position
        content = self._source.read(length, "table")
        self._source.check_crc("table")
        self._tables = Tables.from_bytes(sizes, content, at if length else start)
        self._report.tables += 1

    def _read_chunk(self, kind: int) -> Piece | None:
        """Read a chunk; None where all of it lies before the frame that was sought."""
        source, header = self._source, self.header
        frames, segments, length = read_chunk_start(source, kind, header, self._frame)
        start = source.start
        content = source.read(length, f"chunk at frame {self._frame}")
        source.check_crc(f"chunk at frame {self._frame}")
        first, self._frame = self._frame, self._frame + frames[header.slow]
        if self._frame <= self._wanted and frames[header.slow]:
            self._count(kind, frames)
            return None
        chunk = decode_chunk(kind, content, frames, segments, header, self._tables, start)
        self._count(kind, frames)
        cut = max(0, min(self._wanted - first, frames[header.slow]))
        self._begun = first + cut if self._begun is None else self._begun
        return self._piece(chunk, first, cut)

    def _count(self, kind: int, frames: tuple[int, ...]) -> None:
        self._totals = [total + n for total, n in zip(self._totals, frames, strict=True)]
        if kind == CHUNK:
            self._report.packed += 1
        else:
            self._report.entropy += 1

    def _end(self, index: Index) -> None:
        if self._counting and list(index.totals) != self._totals:
            raise TokenFileError(
                f"the end record at byte {self._source.start} counts {index.totals} frames, and the chunks hold "
                f"{tuple(self._totals)}: a part of the file is missing"
            )
        self._ended = index
        self.header = replace(self.header, n_samples=index.n_samples)

    def _load_index(self) -> Index | None:
        """Return the index where the end of the file is whole; where it is not, reading up to there says so."""
        source, here = self._source, self._source.position
        try:
            end = source.file.seek(0, io.SEEK_END)
            source.jump(max(here, end - FOOTER_BYTES))
            footer = source.read_some(FOOTER_BYTES)
            at = end - FOOTER_BYTES - int.from_bytes(footer[:4], "little")
            if footer[4:] != FOOTER or at < here:
                return None
            source.jump(at)
            if source.read_some(1) != bytes([END]):
                return None
            index = read_end(source, self.header)
            return index if sum(index.lengths) == at - here else None
        except TokenFileError:
            return None
        finally:
            source.jump(here)

    def _close(self, file: BinaryIO) -> None:
        if self._owned:
            file.close()

    # -- pieces -------------------------------------------------------------------------------------------------

    def _piece(self, chunk: Chunk, first: int, cut: int) -> Piece:
        header = self.header
        pairs = zip(chunk.streams, header.ratios, strict=True)
        streams = tuple(np.ascontiguousarray(codes[:, cut * ratio :]) for codes, ratio in pairs)
        begin = header.sample_of(first + cut)
        end = header.sample_of(first + chunk.frames[header.slow])
        if header.n_samples is not None:
            end = header.n_samples if first + chunk.frames[header.slow] >= self._last_frame() else min(end, header.n_samples)
        skipped = cut // header.side_period if header.side_period else 0
        side = {name: values[skipped:].copy() for name, values in zip(header.side, chunk.side, strict=True)}
        return Piece(header, streams, max(0, end - begin), side)

    def _last_frame(self) -> float:
        return self.index.totals[self.header.slow] if self.index is not None else float("inf")

    def _joined(self, pieces: list[Piece], n_samples: int) -> Piece:
        header = self.header
        empty = tuple(np.zeros((len(sizes), 0), np.int64) for sizes in header.codebook_sizes)
        every = [Piece(header, empty, 0, {name: np.zeros(0, np.float32) for name in header.side}), *pieces]
        streams = zip(*(piece.streams for piece in every), strict=True)
        side = {name: np.concatenate([piece.side[name] for piece in every]) for name in header.side}
        return Piece(header, tuple(np.concatenate(parts, axis=1) for parts in streams), n_samples, side)

    def _whole_samples(self) -> int:
        """Return the samples up to where reading stopped."""
        if self._ended is not None:
            return self._ended.n_samples
        known, reached = self.header.n_samples, self.header.sample_of(self._frame)
        return reached if known is None else min(known, reached)


def _open(path: str | Path) -> BinaryIO:
    try:
        return open(path, "rb")
    except OSError as error:
        raise TokenFileError(f"{path} cannot be read ({error.strerror or error}): check the name and the permissions") from None


def read_tok(source: str | Path | BinaryIO, salvage: bool = False, head: bytes = b"") -> "Tokens":
    """Read a whole `.tok` file.

    Raises:
        TokenFileError: if it is damaged; with `salvage`, only if its header is, and a warning says where reading stopped.
    """
    with TokenReader(source, salvage, head) as reader:
        tokens = reader.read()
    if reader.damage:
        warnings.warn(f"only what comes before the damage was read: {reader.damage}", stacklevel=2)
    return tokens
