"""Sample rates and channels: one resampler for whole audio and for blocks, and the rule by which channels are mixed.

Resampling is soxr's at its very high quality (VHQ, linear phase). Measured in float32 by the tests of this module, between the
usual rates: a sine in the lower third of the band keeps a signal-to-noise ratio above 145 dB; the pass band is flat within
0.01 dB up to 0.9 of the lower Nyquist frequency and falls to -3 dB at 0.95; what lies above that Nyquist frequency, and every
image of what lies below, is at least 145 dB down. Blocks joined equal the whole bit for bit.
"""

import math
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import soxr

from .errors import AudioError, ShapeError

if TYPE_CHECKING:
    from torch import Tensor

Audio = TypeVar("Audio", np.ndarray, "Tensor")
QUALITY = "VHQ"
LOWEST_RATE, HIGHEST_RATE = 1_000, 1_000_000  # Hz; beyond these a header is damaged, and a small file could fill the memory


def check_rate(sample_rate: int) -> int:
    """Return a sample rate in Hz as an int.

    Raises:
        AudioError: if it is not a whole number from 1,000 to 1,000,000.
    """
    if isinstance(sample_rate, bool) or int(sample_rate) != sample_rate or not LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
        raise AudioError(
            f"the sample rate must be a whole number from {LOWEST_RATE} to {HIGHEST_RATE} Hz; got {sample_rate}: "
            "check the file's header, or say the right rate"
        )
    return int(sample_rate)


def all_finite(waveform: np.ndarray) -> bool:
    """Whether there is no NaN and no infinity."""
    # The sum has both in it, and costs a tenth; it may also overflow, so only a finite one decides.
    with np.errstate(over="ignore", invalid="ignore"):
        return math.isfinite(waveform.sum()) or bool(np.isfinite(waveform).all())


def resampled_length(n_samples: int, from_rate: int, to_rate: int) -> int:
    """Return the samples that `n_samples` become: n * to / from to the nearest, halves up, and 1 at least where there was 1."""
    return max((2 * n_samples * to_rate + from_rate) // (2 * from_rate), min(n_samples, 1))


def resample(waveform: "Tensor", from_rate: int, to_rate: int) -> "Tensor":
    """Resample audio [..., samples] from one rate to another, both in Hz; the same tensor where they are equal.

    Type and device are kept (half precision is widened on the way); the work is done on the CPU.

    Raises:
        AudioError: if the audio holds NaN or infinity, or a rate is out of range.
    """
    if check_rate(from_rate) == check_rate(to_rate):
        return waveform
    rows, n = waveform.shape[:-1].numel(), waveform.shape[-1]
    if not rows:
        return waveform.new_zeros(*waveform.shape[:-1], resampled_length(n, from_rate, to_rate))
    import torch

    stream = Resampler(from_rate, to_rate, rows, double=waveform.dtype == torch.float64)
    plain = waveform.detach().reshape(rows, n).cpu()
    whole = torch.from_numpy(stream.push((plain if plain.dtype == torch.float64 else plain.float()).numpy(), last=True))
    return whole.to(waveform.device, waveform.dtype).reshape(*waveform.shape[:-1], whole.shape[-1])


class Resampler:
    """Resamples audio that comes in blocks; the blocks joined equal `resample` of the whole."""

    def __init__(self, from_rate: int, to_rate: int, channels: int, double: bool = False) -> None:
        self.from_rate, self.to_rate = check_rate(from_rate), check_rate(to_rate)
        self.channels = channels
        self.dtype = np.dtype(np.float64 if double else np.float32)
        self._stream: soxr.ResampleStream | None = None
        self._taken = self._given = 0

    def push(self, block: np.ndarray, last: bool = False) -> np.ndarray:
        """Take [channels, n] and return [channels, m], the audio that is now certain; `last` ends the audio."""
        if block.ndim != 2 or block.shape[0] != self.channels:
            raise ShapeError(f"this resampler takes [{self.channels}, samples]; got {list(block.shape)}")
        if not all_finite(block):
            raise AudioError("the audio holds NaN or infinite samples: repair or cut them first")
        self._taken += block.shape[-1]
        frames = np.ascontiguousarray(block.T, self.dtype)
        out = np.ascontiguousarray(self._resample(frames, last).reshape(-1, self.channels).T)
        if last:
            out = self._end(out)
        self._given += out.shape[-1]
        return out

    def _resample(self, frames: np.ndarray, last: bool) -> np.ndarray:
        """Return what soxr makes of the next frames; a whole at once costs it less than a stream, and has the same samples."""
        if last and self._stream is None:
            return soxr.resample(frames, self.from_rate, self.to_rate, QUALITY)
        if self._stream is None:
            kind = self.dtype.name
            self._stream = soxr.ResampleStream(self.from_rate, self.to_rate, self.channels, dtype=kind, quality=QUALITY)
        return self._stream.resample_chunk(frames, last=last)

    def _end(self, out: np.ndarray) -> np.ndarray:
        """Make the whole `resampled_length` long: soxr gives no sample at all for less than half a period."""
        left = resampled_length(self._taken, self.from_rate, self.to_rate) - self._given
        return np.pad(out, ((0, 0), (0, left - out.shape[-1]))) if left > out.shape[-1] else out[:, :left]


def mix_channels(waveform: Audio, channels: int) -> Audio:
    """Return audio [..., channels, samples] with the wanted channels; the same array or tensor where it has them.

    Any number becomes one by the mean, one becomes any number by repetition. No other mapping is guessed, since which
    channels of a surround or ambisonic layout belong where is not known here.

    Raises:
        AudioError: if neither rule applies.
    """
    given = waveform.shape[-2]
    check_mix(given, channels)
    if given == channels:
        return waveform
    if given == 1:
        return waveform[..., [0] * channels, :]
    # Added one by one: the sum is then the same whatever the length and layout of a block.
    total: Any = waveform[..., 0, :] + waveform[..., 1, :]
    for channel in range(2, given):
        total += waveform[..., channel, :]
    return (total / given)[..., None, :]


def check_mix(given: int, wanted: int) -> None:
    """Raise AudioError unless audio of `given` channels can become one of `wanted`."""
    if given < 1 or wanted < 1 or (given != wanted and 1 not in (given, wanted)):
        raise AudioError(
            f"audio of {given} channels cannot become audio of {wanted}: only one channel is repeated and only a mix to one "
            f"is the mean; mix it to {wanted} or to 1 first"
        )
