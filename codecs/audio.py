"""Audio in and out: files of any format, rate and channel count to tensors in [-1, 1], and back.

`AudioReader` and `AudioWriter` work in blocks, `read_audio` and `write_audio` on whole files, `fit_waveform` brings audio in
memory to a codec's rate and channels. How rates and channels change is told in `audio_resampling`.
"""

import torch
from torch import Tensor

from .audio_reading import AudioReader, AudioWarning
from .audio_resampling import check_mix, mix_channels, resample, resampled_length
from .audio_sources import AudioFile
from .audio_wav import PcmFormat
from .audio_writing import AudioWriter
from .errors import ShapeError
from .spec import CodecSpec

__all__ = [
    "AudioReader",
    "AudioWarning",
    "AudioWriter",
    "PcmFormat",
    "fit_waveform",
    "mix_channels",
    "read_audio",
    "resample",
    "resampled_length",
    "write_audio",
]


def read_audio(
    file: AudioFile, sample_rate: int | None = None, channels: int | None = None, raw: PcmFormat | None = None
) -> tuple[Tensor, int]:
    """Return all audio of a file, float32 [channels, samples], and its sample rate in Hz.

    Args:
        file: a path, "-" for standard input, or a binary file object.
        sample_rate: the rate to resample to; the file's own by default.
        channels: to mix or repeat to; the file's own by default.
        raw: layout of samples that have no header.

    Raises:
        AudioError: if it cannot be read, or holds NaN or infinity.
    """
    with AudioReader(file, sample_rate, channels, raw=raw) as reader:
        blocks = list(reader)
        return torch.cat(blocks, dim=1) if blocks else torch.zeros(reader.channels, 0), reader.sample_rate


def write_audio(file: AudioFile, waveform: Tensor, sample_rate: int, subtype: str = "PCM_16") -> int:
    """Write a waveform [channels, samples] or [samples] to a file and return how many samples were clipped.

    Args:
        file: a path whose suffix says the format, "-" for WAV on standard output, or a binary file object.
        waveform: float, full scale at -1 and 1.
        sample_rate: Hz.
        subtype: PCM_16, PCM_24 or FLOAT.

    Raises:
        AudioError: if the file cannot be written, or the waveform holds NaN or infinity.
    """
    waveform = waveform[None] if waveform.ndim == 1 else waveform
    if waveform.ndim != 2:
        raise ShapeError(f"audio to be written must be [channels, samples]; got {list(waveform.shape)}")
    with AudioWriter(file, sample_rate, waveform.shape[0], subtype, n_samples=waveform.shape[1]) as writer:
        writer.write(waveform)
    return writer.clipped


def fit_waveform(waveform: Tensor, lengths: Tensor, sample_rate: int, spec: CodecSpec) -> tuple[Tensor, Tensor]:
    """Bring a batch to a codec's sample rate and channels; the same tensors where nothing is to be done.

    Each item is resampled over its own length only, so that it comes out as it would alone; zeros follow.

    Args:
        waveform: float [batch, channels, samples].
        lengths: samples in use of each item [batch].
        sample_rate: of the waveform, Hz.
        spec: of the codec. More channels become one by their mean, one is repeated.

    Returns:
        The waveform [batch, spec.channels, samples at spec.sample_rate] and the new lengths [batch].

    Raises:
        AudioError: if the channels cannot be mapped, a rate is out of range, or audio to be resampled holds NaN or infinity.
        ShapeError: if the waveform is not [batch, channels, samples].
    """
    if waveform.ndim != 3:
        raise ShapeError(f"audio must be [batch, channels, samples]; got {list(waveform.shape)}")
    check_mix(waveform.shape[1], spec.channels)
    if waveform.shape[1] > spec.channels:
        waveform = mix_channels(waveform, spec.channels)
    if sample_rate != spec.sample_rate:
        waveform, lengths = _resample_items(waveform, lengths, sample_rate, spec.sample_rate)
    return mix_channels(waveform, spec.channels), lengths


def _resample_items(waveform: Tensor, lengths: Tensor, from_rate: int, to_rate: int) -> tuple[Tensor, Tensor]:
    items = [resample(item[:, :n], from_rate, to_rate) for item, n in zip(waveform, lengths.tolist(), strict=True)]
    counts = [item.shape[-1] for item in items]
    out = waveform.new_zeros(*waveform.shape[:2], max(counts, default=0))
    for row, item in zip(out, items, strict=True):
        row[:, : item.shape[-1]] = item
    return out, torch.tensor(counts, dtype=lengths.dtype, device=lengths.device)
