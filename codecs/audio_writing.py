"""Writing audio in blocks: integers are rounded and clipped, and a write that fails or is interrupted leaves no file."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

import numpy as np

from .audio_resampling import all_finite, check_rate
from .audio_sinks import LOSSY, LibsndfileSink, Sink, WavSink, check_format
from .audio_sources import AudioFile
from .audio_wav import PcmFormat
from .errors import AudioError, ShapeError
from .files import atomic_path

if TYPE_CHECKING:
    from torch import Tensor

_STEP = 1 << 18  # samples per channel that are converted at once
_ENCODINGS = {"PCM_16": "s16le", "PCM_24": "s24le", "FLOAT": "f32le"}


class AudioWriter:
    """Takes blocks [channels, n], tensors or arrays, and writes them to a file, whose suffix says the format.

        with AudioWriter("out.wav", 24_000, channels=1) as writer:
            writer.write(block)

    The file appears when the block of `with` ends well; an error or an interrupt leaves what was there before. Integers
    are rounded to the nearest, without dither; samples beyond full scale are clipped and counted, except in FLOAT, which
    keeps them. Lossy formats (.ogg, .opus, .mp3) are clipped too and take no subtype.

    Attributes:
        clipped: samples beyond full scale that were clipped.
        n_samples: samples per channel written.
    """

    def __init__(
        self,
        file: AudioFile,
        sample_rate: int,
        channels: int,
        subtype: str = "PCM_16",
        format: str | None = None,  # noqa: A002 - the word that every library has for it
        n_samples: int | None = None,
    ) -> None:
        """Say what will be written; the file is opened by `with`.

        Args:
            file: a path, "-" for standard output, or a binary file object.
            sample_rate: Hz.
            channels: 1 to 1024, fewer in some formats.
            subtype: PCM_16, PCM_24 or FLOAT.
            format: wav, flac, ogg, opus, mp3, aiff, caf, w64 or rf64; the path's suffix by default, wav without one.
            n_samples: how many there will be, where that is known: a WAV in a pipe then has a right header.

        Raises:
            AudioError: if the format is unknown or cannot hold such audio.
        """
        if subtype not in _ENCODINGS:
            raise AudioError(f"samples can be written as {', '.join(_ENCODINGS)}; got {subtype}")
        self._pcm = PcmFormat(check_rate(sample_rate), channels, _ENCODINGS[subtype])
        self.sample_rate, self.channels, self.subtype = sample_rate, channels, subtype
        self._path = Path(file) if isinstance(file, str | os.PathLike) and str(file) != "-" else None
        self._file, self._expected = file, n_samples
        self._format = (format or (self._path.suffix if self._path else "") or "wav").lower().removeprefix(".")
        check_format(self._format, self._pcm)
        self._clips = self._format in LOSSY or subtype != "FLOAT"
        self.clipped = self.n_samples = 0
        self._sink: Sink | None = None

    def write(self, block: "Tensor | np.ndarray") -> None:
        """Append samples, floating point [channels, n].

        Raises:
            AudioError: if they hold NaN or infinity, or cannot be written.
            ShapeError: if the shape or type is another.
        """
        samples = block if isinstance(block, np.ndarray) else _plain(block)
        if samples.ndim != 2 or len(samples) != self.channels or samples.dtype.kind != "f":
            raise ShapeError(f"blocks must be floating point [{self.channels}, samples]; got {block.dtype} {list(block.shape)}")
        if self._sink is None:
            raise AudioError("this writer is not open: write inside `with AudioWriter(...) as writer:`")
        for start in range(0, samples.shape[1], _STEP):
            self._write(samples[:, start : start + _STEP].astype(np.float32, copy=False), self._sink)

    def _write(self, block: np.ndarray, sink: Sink) -> None:
        if not all_finite(block):
            raise AudioError("the audio to be written holds NaN or infinite samples: repair or cut them first")
        if self._clips:
            self.clipped += int((np.abs(block) > 1).sum())
            block = block.clip(-1, 1)
        with self._errors():
            sink.write(np.ascontiguousarray(block.T))
        self.n_samples += block.shape[-1]

    def __enter__(self) -> Self:
        self._open = self._opened()
        self._open.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._open.__exit__(*error)  # pyright: ignore[reportArgumentType]

    @contextmanager
    def _opened(self) -> Iterator[None]:
        with ExitStack() as stack:
            with self._errors():
                stream, rewind = stack.enter_context(self._destination())
                self._sink = self._make_sink(stream, rewind)
            stack.callback(self._close_sink)
            yield
            with self._errors():
                self._sink.finish()
                stream.flush()
                stack.pop_all().close()

    def _close_sink(self) -> None:
        if self._sink is not None:
            self._sink.close()
        self._sink = None

    def _make_sink(self, stream: BinaryIO, rewind: bool) -> Sink:
        if self._format == "wav":
            return WavSink(stream, self._pcm, self._expected, rewind)
        return LibsndfileSink(stream, self._pcm, self._format, rewind)

    @contextmanager
    def _destination(self) -> Iterator[tuple[BinaryIO, bool]]:
        """Yield a stream and whether one can go back in it."""
        if self._path is None:
            stream = sys.stdout.buffer if isinstance(self._file, str | os.PathLike) else self._file
            # Standard output may have been opened for appending, where going back would write at the end.
            yield stream, stream is not sys.stdout.buffer and stream.seekable()
        elif self._path.is_dir():
            raise AudioError(f"{self._path} is a folder, where the name of an audio file is expected: name a file in it")
        elif self._path.exists() and not self._path.is_file():  # a device or a pipe must not be replaced by a file
            with _closing(self._path.open("wb")) as stream:
                yield stream, False
        else:
            with atomic_path(self._path.resolve()) as partial, _closing(partial.open("w+b")) as stream:
                yield stream, True

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:  # the reader of a pipe has had enough, which is no failure to be told
            raise
        except OSError as error:
            name = self._path or "the output"
            raise AudioError(
                f"{name} cannot be written ({error.strerror}): check the folder, its permissions and the space left"
            ) from None


def _plain(block: "Tensor") -> np.ndarray:
    """Return a tensor as an array; numpy has no bfloat16."""
    return (block.float() if block.is_floating_point() and block.element_size() < 4 else block).detach().cpu().numpy()


@contextmanager
def _closing(stream: BinaryIO) -> Iterator[BinaryIO]:
    """As the stream's own `with`, but what closing says after an error does not hide that error."""
    try:
        yield stream
        stream.close()
    finally:
        with suppress(OSError):
            stream.close()
