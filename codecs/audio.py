"""Audio in and out: files of any format, rate and channel count to tensors in [-1, 1], and back.

`AudioReader` and `AudioWriter` work in blocks, `read_audio` and `write_audio` on whole files, `fit_waveform` brings audio in
memory to a codec's rate and channels. How rates and channels change is told in `audio_resampling`.
"""

import torch
from torch import Tensor

from .audio_resampling import check_mix, mix_channels, resample, resampled_length
from .errors import ShapeError
from .spec import CodecSpec

__all__ = ["check_mix", "fit_waveform", "mix_channels", "resample", "resampled_length"]


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
