"""Where samples go: a WAV of our own, which a pipe can take too, or libsndfile for every other format."""

import shutil
import tempfile
from contextlib import suppress
from typing import Any, BinaryIO, Protocol, cast

import numpy as np
import soundfile

from .audio_wav import PcmFormat, make_header, quantise, to_bytes
from .errors import AudioError

LOSSY = {"ogg": "VORBIS", "opus": "OPUS", "mp3": "MPEG_LAYER_III"}
FORMATS = {name: name.upper() for name in ("flac", "ogg", "mp3", "aiff", "caf", "w64", "rf64")} | {"opus": "OGG"}
_SUBTYPES = {"s16le": "PCM_16", "s24le": "PCM_24", "f32le": "FLOAT"}
_NEVER_EMPTY = ("flac", "opus", "mp3")  # libsndfile writes a file of no samples in these that it cannot read
_VORBIS_RATE = 192_000  # Hz; libvorbis crashes the process at 384,000
_STEP = 1 << 14  # frames given to libsndfile at once: its Vorbis encoder keeps a whole write on the stack


class Sink(Protocol):
    """Takes finite float32 frames [n, channels], within full scale where the format has one."""

    def write(self, frames: np.ndarray) -> None:
        """Append frames."""
        ...

    def finish(self) -> None:
        """Write what stands at the end, or is only known there."""
        ...

    def close(self) -> None:
        """Let go, after `finish` or after an error; writes nothing and raises nothing."""
        ...


def check_format(format_: str, pcm: PcmFormat) -> None:
    """Raise AudioError unless a format is known and can hold such samples."""
    if format_ != "wav" and format_ not in FORMATS:
        raise AudioError(f"audio cannot be written as .{format_}: choose one of {', '.join(['wav', *FORMATS])}")
    if format_ == "flac" and pcm.encoding == "f32le":
        raise AudioError("FLAC holds no FLOAT samples: choose PCM_16 or PCM_24, or write a .wav")
    if format_ == "ogg" and pcm.sample_rate > _VORBIS_RATE:
        raise AudioError(f"Vorbis takes at most {_VORBIS_RATE} Hz; got {pcm.sample_rate}: write .flac or .wav")


class WavSink:
    """WAV; the sizes in its header are set at the end where the stream can go back."""

    def __init__(self, stream: BinaryIO, pcm: PcmFormat, n_samples: int | None, rewind: bool) -> None:
        self._stream, self._pcm, self._expected, self._written = stream, pcm, n_samples, 0
        self._start = stream.tell() if rewind else None
        stream.write(make_header(pcm, n_samples))

    def write(self, frames: np.ndarray) -> None:
        self._written += len(frames)
        if self._start is not None:
            make_header(self._pcm, self._written)  # refuses what will not fit before the disk is full of it
        encoding = self._pcm.encoding
        values = frames if encoding == "f32le" else quantise(frames, 16 if encoding == "s16le" else 24)
        self._stream.write(to_bytes(values, encoding))

    def finish(self) -> None:
        if self._expected not in (None, self._written):
            raise AudioError(f"{self._expected} samples were announced and {self._written} written: give the right n_samples")
        known = self._start is not None or self._expected is not None
        if known and self._written * self._pcm.frame_bytes % 2:
            self._stream.write(b"\0")
        if self._start is not None and self._expected is None:
            end = self._stream.tell()
            self._stream.seek(self._start)
            self._stream.write(make_header(self._pcm, self._written))
            self._stream.seek(end)

    def close(self) -> None:
        """The stream belongs to the caller."""


class LibsndfileSink:
    """Every other format; where the stream cannot go back it is made in a temporary file and copied."""

    def __init__(self, stream: BinaryIO, pcm: PcmFormat, format_: str, rewind: bool) -> None:
        self._stream, self._pcm, self._format, self._written = stream, pcm, format_, 0
        self._spool = None if rewind else tempfile.TemporaryFile()  # noqa: SIM115 - closed by finish or with the sink
        self._guard = _Guard(stream if self._spool is None else self._spool)
        subtype = LOSSY.get(format_, _SUBTYPES[pcm.encoding])
        try:
            self._file = soundfile.SoundFile(
                cast(Any, self._guard), "w", pcm.sample_rate, pcm.channels, subtype=subtype, format=FORMATS[format_]
            )  # fmt: skip
        except (soundfile.LibsndfileError, ValueError) as error:
            if self._spool is not None:
                self._spool.close()
            self._guard.check()
            raise AudioError(
                f"{format_} cannot hold {pcm.channels} channels at {pcm.sample_rate} Hz as {subtype} ({_reason(error)}): "
                "write .wav"
            ) from None

    def write(self, frames: np.ndarray) -> None:
        self._written += len(frames)
        if self._format not in LOSSY and self._pcm.encoding != "f32le":
            frames = quantise(frames, 16 if self._pcm.encoding == "s16le" else 24)
        with self._guard:
            for start in range(0, len(frames), _STEP):
                self._file.write(frames[start : start + _STEP])

    def finish(self) -> None:
        if not self._written and self._format in _NEVER_EMPTY:
            raise AudioError(f"a {self._format} file cannot hold audio of 0 samples: write .wav")
        with self._guard:
            self._file.close()
        if self._spool is not None:
            self._spool.seek(0)
            shutil.copyfileobj(self._spool, self._stream)

    def close(self) -> None:
        self._guard.mute()
        with suppress(soundfile.SoundFileError):
            self._file.close()
        if self._spool is not None:
            self._spool.close()


class _Guard:
    """A file that libsndfile calls back; no exception passes through C, so one is kept, and raised by `check`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file: BinaryIO | None = file
        self._error: OSError | None = None

    def _call(self, name: str, *arguments: Any) -> Any:
        if self._file is not None and self._error is None:
            try:
                return getattr(self._file, name)(*arguments)
            except OSError as error:
                self._error = error
        return b"" if name == "read" else 0

    def write(self, data: bytes) -> int:
        return self._call("write", data)

    def read(self, size: int = -1) -> bytes:
        return self._call("read", size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._call("seek", offset, whence)

    def tell(self) -> int:
        return self._call("tell")

    def mute(self) -> None:
        """Touch the file no more: what libsndfile still says while it closes goes nowhere."""
        self._file = None

    def check(self) -> None:
        if self._error is not None:
            raise self._error

    def __enter__(self) -> None:
        self.check()

    def __exit__(self, kind: type | None, error: BaseException | None, _: object) -> None:
        self.check()
        if isinstance(error, soundfile.LibsndfileError):  # libsndfile's own trouble, and none of the file's
            raise AudioError(f"the audio could not be written ({_reason(error)}): check the disk") from None


def _reason(error: Exception) -> str:
    return getattr(error, "error_string", str(error)).strip().removeprefix("Error : ").rstrip(".")
