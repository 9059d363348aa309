"""Audio as callers give it: its shapes, its type, and how much of each item counts."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .counts import counts
from .errors import ShapeError

MOST_CHANNELS = 1024  # of a file that libsndfile reads


def as_batch(waveform: Tensor) -> Tensor:
    """Return audio as [batch, channels, samples]; [channels, samples] and [samples] are one item.

    Raises:
        ShapeError: if it is not floating point, has another number of dimensions, or more channels than audio has.
    """
    check_float(waveform)
    if waveform.ndim not in (1, 2, 3):
        raise ShapeError(f"audio must be [batch, channels, samples]; got {list(waveform.shape)}")
    batch = waveform.reshape((1,) * (3 - waveform.ndim) + tuple(waveform.shape))
    if batch.shape[1] > MOST_CHANNELS:  # arrays of soundfile and scipy, whose mean over time would be taken for audio
        raise ShapeError(f"audio must be [channels, samples]; got {list(waveform.shape)}: transpose it")
    return batch


def check_float(waveform: Tensor) -> None:
    """Raise ShapeError unless audio is a floating-point tensor."""
    if not isinstance(waveform, Tensor):
        raise ShapeError(f"audio must be a tensor; got {type(waveform).__name__}: torch.as_tensor makes one of an array")
    if not waveform.is_floating_point():
        raise ShapeError(f"audio must be floating point in [-1, 1]; got {waveform.dtype}: divide what has 16 bits by 32768")


def check_lengths(lengths: Tensor | Sequence[int] | None, waveform: Tensor) -> Tensor:
    """Return the samples in use of each item of [batch, channels, samples], int64 on the CPU; None is all of them.

    Raises:
        ShapeError: if they are not whole numbers, one for each item, of samples that there are.
    """
    batch, _, samples = waveform.shape
    if lengths is None:
        return torch.full((batch,), samples, dtype=torch.int64)
    lengths = counts(lengths, "lengths")
    if lengths.shape != (batch,) or bool((lengths < 0).any() | (lengths > samples).any()):
        raise ShapeError(f"lengths must be {batch} counts from 0 to {samples}; got {lengths.tolist()}")
    return lengths
