"""Reading audio in blocks: any format, at the rate and with the channels that are wanted, in constant memory."""

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

import numpy as np

from .audio_resampling import Resampler, check_mix, check_rate, mix_channels, resampled_length
from .audio_sources import AudioFile, name_of, open_source
from .audio_wav import PcmFormat
from .errors import AudioError

if TYPE_CHECKING:
    from torch import Tensor

_MOST_VALUES = 1 << 22  # values of all channels in one block, whatever rate and channels a header claims


class AudioWarning(UserWarning):
    """Audio was read, and something about it deserves a look."""


class AudioReader:
    """Audio as blocks, float32 [channels, n]; joined they equal the whole file, mixed and resampled.

    Iterating gives tensors; their arrays, `blocks`, need no torch.

    Files of integers fill [-1, 1); floats are as they are.

        with AudioReader("talk.mp3", sample_rate=24_000, channels=1) as reader:
            for block in reader:
                ...

    A pipe with WAV or raw samples is read as it comes; other formats must go back and forth, so they are first copied to a
    temporary file. A file that ends before its header says (a cut recording) gives what is there, sets `truncated` and
    warns with an `AudioWarning`; a damaged compressed file is an error that names the place.

    Attributes:
        sample_rate: of the blocks, Hz.
        channels: of the blocks.
        source_rate: of the file, Hz.
        source_channels: of the file.
        n_samples: per channel at `sample_rate`, as the file claims, None where it does not; after the last block the count.
        clipped: samples read so far that are at or beyond full scale, on either side, as stored.
        truncated: whether the file ended early; certain after the last block.
    """

    def __init__(
        self,
        file: AudioFile,
        sample_rate: int | None = None,
        channels: int | None = None,
        block_seconds: float = 5.0,
        raw: PcmFormat | None = None,
    ) -> None:
        """Open a file.

        Args:
            file: a path, "-" for standard input, or a binary file object.
            sample_rate: Hz of the blocks; the file's own by default.
            channels: of the blocks; the file's own by default. The rule is `mix_channels`'s.
            block_seconds: the longest block, at the file's rate.
            raw: layout of samples that have no header.

        Raises:
            AudioError: if the file cannot be read, or the rate or channels cannot be had from it.
        """
        self.name = name_of(file)
        self._source = open_source(file, raw)
        self.clipped, self.truncated, self._read, self._given = 0, False, 0, 0
        try:
            self._configure(sample_rate, channels, block_seconds)
        except BaseException:
            self.close()
            raise

    def _configure(self, sample_rate: int | None, channels: int | None, block_seconds: float) -> None:
        source = self._source
        self.source_rate, self.source_channels = check_rate(source.sample_rate), source.channels
        self.sample_rate = check_rate(self.source_rate if sample_rate is None else sample_rate)
        self.channels = source.channels if channels is None else channels
        check_mix(source.channels, self.channels)
        self._frames = max(1, min(round(block_seconds * self.source_rate), _MOST_VALUES // source.channels))
        self.n_samples = None
        if source.n_samples is not None:
            self.n_samples = resampled_length(source.n_samples, self.source_rate, self.sample_rate)

    def __iter__(self) -> "Iterator[Tensor]":
        from torch import from_numpy

        return map(from_numpy, self.blocks())

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the blocks that have not been read yet; none is empty.

        Raises:
            AudioError: if the file is damaged or holds NaN or infinity.
        """
        mixed = min(self.source_channels, self.channels)
        resampler = None if self.sample_rate == self.source_rate else Resampler(self.source_rate, self.sample_rate, mixed)
        last = False
        while not last:
            block = self._next()
            last = block.shape[-1] < self._frames
            block = mix_channels(block, mixed)
            if resampler is not None:
                block = resampler.push(block, last)
            if block.shape[-1]:
                self._given += block.shape[-1]
                yield np.ascontiguousarray(mix_channels(block, self.channels))
        self._finish()

    def _next(self) -> np.ndarray:
        frames = self._source.read(self._frames)
        if not np.isfinite(frames.sum(dtype=np.float64)):
            place = self._read + int(np.isfinite(frames).all(1).argmin())
            raise AudioError(
                f"{self.name} holds NaN or infinite samples, the first at sample {place} ({place / self.source_rate:.3f} s): "
                "repair or cut them first"
            )
        if max(frames.max(initial=0), -frames.min(initial=0)) >= self._source.full_scale:
            self.clipped += int((np.abs(frames) >= self._source.full_scale).sum())
        self._read += len(frames)
        return frames.T

    def _finish(self) -> None:
        claimed, self.n_samples = self.n_samples, self._given
        self.truncated = self._source.truncated
        if self.truncated:
            some = f" of {claimed}" if claimed is not None and claimed > self._given else ""
            warnings.warn(
                f"{self.name} ends before its header says: {self._given}{some} samples were read", AudioWarning, stacklevel=3
            )

    def close(self) -> None:
        """Let go of the file; what was not read stays unread."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
