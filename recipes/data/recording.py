"""One recording: a file, or a member of a tar shard, of which any stretch can be read."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile
import torch

from ...codecs.audio import mix_channels, read_audio, resample
from ...codecs.errors import AudioError
from ...codecs.files import native_name


@dataclass(frozen=True)
class Recording:
    """Where audio is.

    Attributes:
        path: of the file, or of the tar shard.
        domain: it belongs to.
        seconds: how long it is, 0 where that is not known.
        text: what is said in it, "" where that is not known.
        times: from and to of every word of the text, in seconds, one after another; none where they are not known.
        member, offset, size: name, first byte and bytes of a shard's member; "", 0 and 0 for a file.
    """

    path: str
    domain: str = ""
    seconds: float = 0.0
    text: str = ""
    times: tuple[float, ...] = ()
    member: str = ""
    offset: int = 0
    size: int = 0

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return f"{self.path}:{self.member}" if self.member else self.path

    def open(self) -> str | io.BytesIO:
        """Return what audio libraries open."""
        if not self.member:
            return self.path
        with open(self.path, "rb") as shard:
            shard.seek(self.offset)
            return io.BytesIO(shard.read(self.size))

    def _native(self) -> Any:
        """Return what libsndfile opens: a file's name in bytes, since it may be no text."""
        opened = self.open()
        return native_name(opened) if isinstance(opened, str) else opened

    def measure(self) -> float:
        """Return the length in seconds that the header claims.

        Raises:
            AudioError: if it cannot be read.
        """
        try:
            found = soundfile.info(self._native())
            return found.frames / found.samplerate
        except (soundfile.LibsndfileError, OSError, ZeroDivisionError):  # a format of other libraries, or none
            waveform, rate = read_audio(self.open())
            return waveform.shape[-1] / rate

    def read(self, start: float, seconds: float, sample_rate: int, channels: int) -> np.ndarray:
        """Return float32 [channels, about seconds * sample_rate] from `start` seconds on, shorter at the end.

        Raises:
            AudioError: if it cannot be read.
        """
        try:
            with soundfile.SoundFile(self._native()) as file:
                file.seek(min(round(start * file.samplerate), file.frames))
                waveform = torch.from_numpy(file.read(round(seconds * file.samplerate), dtype="float32", always_2d=True).T)
                rate = file.samplerate
        except (soundfile.LibsndfileError, OSError):
            waveform, rate = read_audio(self.open())
            waveform = waveform[:, round(start * rate) : round((start + seconds) * rate)]
        waveform = mix_channels(waveform, channels) if waveform.shape[0] != channels else waveform
        if not torch.isfinite(waveform).all():
            raise AudioError(f"{self.name} holds NaN or infinity: repair it, or take it out")
        return resample(waveform.contiguous(), rate, sample_rate).numpy() if rate != sample_rate else waveform.numpy()
