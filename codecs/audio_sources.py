"""Where samples come from: libsndfile, a stream of PCM, or an installed ffmpeg; all are read in blocks of frames."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import numpy as np
import soundfile

from .audio_wav import PcmFormat, from_bytes, is_wav, read_fully, read_header
from .errors import AudioError
from .files import native_name

AudioFile = str | os.PathLike | BinaryIO  # a path, "-" for standard input or output, or a binary file object
_FULL_SCALE = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
_STEP = 1 << 16  # frames that libsndfile is asked for at once
_UNKNOWN = (1 << 63) - 1  # frames of a file that was piped while it was made, as libsndfile says it (SF_COUNT_MAX)


class Source(Protocol):
    """Audio that is read once, from its beginning to its end.

    Attributes:
        sample_rate: Hz.
        channels: as stored.
        n_samples: per channel, as the file claims; None where it does not say.
        full_scale: the largest positive value that a sample can have.
        truncated: whether less came than the file claims; right once all is read.
    """

    sample_rate: int
    channels: int
    n_samples: int | None
    full_scale: float
    truncated: bool

    def read(self, frames: int) -> np.ndarray:
        """Return the next samples, float32 [at most frames, channels]; none at the end."""
        ...

    def close(self) -> None:
        """Let go of files and processes."""
        ...


def open_source(file: AudioFile, raw: PcmFormat | None = None) -> Source:
    """Open audio; `raw` says that it is samples without a header, and how they are laid out.

    Raises:
        AudioError: if it is missing, empty, a folder, or not audio that can be read here.
    """
    if isinstance(file, str | os.PathLike) and str(file) != "-":
        return _open_path(Path(file), raw)
    stream = sys.stdin.buffer if isinstance(file, str | os.PathLike) else file
    return _open_stream(stream, name_of(file), raw)


def name_of(file: AudioFile) -> str:
    """Return how messages call a file."""
    if isinstance(file, str | os.PathLike):
        return "standard input" if str(file) == "-" else str(file)
    return str(getattr(file, "name", "the stream"))


class PcmSource:
    """Samples from a stream that need not be seekable."""

    def __init__(self, stream: BinaryIO, pcm: PcmFormat, data_bytes: int | None = None, owned: bool = False) -> None:
        self._stream, self._pcm, self._left, self._owned = stream, pcm, data_bytes, owned
        self.sample_rate, self.channels, self.full_scale = pcm.sample_rate, pcm.channels, pcm.full_scale
        self.n_samples = None if data_bytes is None else data_bytes // pcm.frame_bytes
        self.truncated = False

    def read(self, frames: int) -> np.ndarray:
        size = self._pcm.frame_bytes
        wanted = frames * size if self._left is None else min(frames * size, self._left // size * size)
        data = read_fully(self._stream, wanted)
        if self._left is not None:
            self._left -= len(data)
            self.truncated |= len(data) < wanted
        whole = len(data) // size * size
        self.truncated |= whole < len(data)
        return from_bytes(data[:whole], self._pcm)

    def close(self) -> None:
        if self._owned:
            self._stream.close()


class _OneWay(soundfile.SoundFile):
    """A file that is read on and on: after each block `soundfile` seeks to where it stands, and Opus then sounds otherwise."""

    def seekable(self) -> bool:
        return False


class LibsndfileSource:
    """What libsndfile reads: wav, flac, ogg, opus, mp3, aiff, caf, w64 and more."""

    def __init__(self, path: Path, name: str, remove: bool = False) -> None:
        self._file = _OneWay(native_name(path))
        self._name, self._place, self._path = name, 0, path if remove else None
        self.sample_rate, self.channels = self._file.samplerate, self._file.channels
        self.n_samples: int | None = None if self._file.frames == _UNKNOWN else self._file.frames
        bits = _FULL_SCALE.get(self._file.subtype)
        self.full_scale = 1 - 2.0 ** (1 - bits) if bits else 1.0
        self.is_wav = self._file.format in ("WAV", "WAVEX", "RF64")
        self.truncated = self.is_wav and _wav_is_cut(path)

    def read(self, frames: int) -> np.ndarray:
        try:
            pieces = [self._read(min(_STEP, frames - start)) for start in range(0, frames, _STEP)]
        except soundfile.LibsndfileError as error:
            raise AudioError(
                f"{self._name} is damaged after {self._place} samples ({error.error_string.strip()}): fetch it again, or save "
                "what is left of it with `ffmpeg -i`"
            ) from None
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def _read(self, frames: int) -> np.ndarray:
        data = self._file.read(frames, dtype="float32", always_2d=True)
        self._place += len(data)
        self.truncated |= len(data) < frames and self.n_samples is not None and self._place < self.n_samples
        return data

    def close(self) -> None:
        self._file.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)


class FfmpegSource(PcmSource):
    """Everything else, through an installed ffmpeg that writes a WAV of floats into a pipe."""

    def __init__(self, path: Path, name: str, remove: bool = False) -> None:
        self._name, self._path = name, path if remove else None
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        # file: and the whitelist keep names and playlists from being taken for other files or network addresses.
        command = ["ffmpeg", "-nostdin", "-v", "error", "-protocol_whitelist", "file,pipe", "-i", f"file:{path.resolve()}"]
        command += ["-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "wav", "-bitexact", "-"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._messages)
        stream = cast(BinaryIO, self._process.stdout)
        try:
            header = read_header(stream)
        except AudioError:
            reason = self._reason()
            self.close()
            raise AudioError(f"{name} is not audio that libsndfile or ffmpeg can read ({reason}): check the file") from None
        if header.pcm is None:
            raise AudioError(f"ffmpeg gave no plain samples of {name}: convert it to WAV or FLAC first")
        super().__init__(stream, header.pcm, owned=True)

    def read(self, frames: int) -> np.ndarray:
        data = super().read(frames)
        if len(data) < frames and self._process.wait():
            raise AudioError(f"ffmpeg could not read {self._name} to its end ({self._reason()}): fetch or convert it again")
        return data

    def _reason(self) -> str:
        self._process.wait()
        self._messages.seek(0)
        lines = self._messages.read(4096).decode(errors="replace").split("\n")
        return next(
            (line.strip().rpartition(": ")[2] for line in lines if line.strip()), f"exit status {self._process.returncode}"
        )

    def close(self) -> None:
        self._process.kill()
        cast(BinaryIO, self._process.stdout).close()
        self._process.wait()
        self._messages.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _open_path(path: Path, raw: PcmFormat | None) -> Source:
    try:
        told = path.stat()
        if stat.S_ISDIR(told.st_mode):
            raise AudioError(f"{path} is a folder, where an audio file is expected: name a file in it")
        if raw is not None or not stat.S_ISREG(told.st_mode):  # a pipe or a device cannot be opened twice
            return _open_stream(path.open("rb"), str(path), raw, owned=True)
        if not told.st_size:
            raise AudioError(f"{path} is empty (0 bytes): fetch or record it again")
        if not os.access(path, os.R_OK):  # libsndfile would not say why
            path.open("rb").close()
    except OSError as error:
        raise AudioError(f"{path} cannot be read ({error.strerror}): check the path and the permissions") from None
    return _open_file(path, str(path))


def _open_stream(stream: BinaryIO, name: str, raw: PcmFormat | None, owned: bool = False) -> Source:
    if raw is not None:
        return PcmSource(stream, raw, owned=owned)
    recorder = _Recorder(stream)
    head = read_fully(recorder, 12)
    if not head:
        raise AudioError(f"{name} gave no data: pipe a WAV, FLAC or other audio file into it")
    if is_wav(head):
        header = read_header(recorder, head)
        if header.pcm is not None:
            return PcmSource(stream, header.pcm, header.data_bytes, owned)
    path = _spool(recorder.kept, stream)
    if owned:
        stream.close()
    try:
        return _open_file(path, name, remove=True)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _open_file(path: Path, name: str, remove: bool = False) -> Source:
    if path.suffix.lower() in (".raw", ".pcm"):
        raise AudioError(f"{name} has no header: say its sample rate, channels and encoding (raw=PcmFormat(...)) to read it")
    try:
        source = LibsndfileSource(path, name, remove)
        return _unclosed(path, source) if source.is_wav and not (source.n_samples or remove) else source
    except soundfile.LibsndfileError as error:
        reason = error.error_string.strip().removeprefix("Error : ").rstrip(".")
    if shutil.which("ffmpeg") is None:
        raise AudioError(
            f"{name} is not audio that libsndfile reads ({reason}): check the file, or, if it is m4a, aac, webm, wma or "
            "another such format, install ffmpeg"
        )
    return FfmpegSource(path, name, remove)


def _unclosed(path: Path, source: LibsndfileSource) -> Source:
    """Return the samples of a WAV whose sizes were never written, of which libsndfile sees none; else the source itself."""
    file = path.open("rb")
    with suppress(AudioError):
        header = read_header(file)
        if header.pcm is not None and header.data_bytes is None and path.stat().st_size > header.data_start:
            source.close()
            return PcmSource(file, header.pcm, owned=True)
    file.close()
    return source


def _wav_is_cut(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            header = read_header(file)
        except AudioError:
            return False  # libsndfile opened it: an odd header is not a missing end
    return header.data_bytes is not None and header.data_start + header.data_bytes > path.stat().st_size


def _spool(head: bytes, stream: BinaryIO) -> Path:
    """Copy a stream to a temporary file: most formats cannot be read without going back."""
    handle, name = tempfile.mkstemp(prefix="toneme-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(head)
            shutil.copyfileobj(stream, file)
    except BaseException as error:
        os.unlink(name)
        if isinstance(error, OSError):
            raise AudioError(f"the audio could not be kept in {tempfile.gettempdir()} to be read ({error.strerror})") from None
        raise
    return Path(name)


class _Recorder:
    """A stream that remembers what was read, as long as that is no more than a header."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self.kept = stream, b""

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size)
        self.kept += data
        if len(self.kept) > 1 << 24:
            raise AudioError("the WAV header is longer than 16 MiB: convert the file to a plain WAV or FLAC first")
        return data
