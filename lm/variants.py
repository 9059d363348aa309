"""Variants of a recording, for language models that would learn few recordings by heart: the codes of each differ."""

import hashlib

import numpy as np
from torch import Tensor
from torch.nn.functional import pad

from ..codecs.audio_resampling import resample

SPEED = 1.12  # faster and slower by up to this, pitch with it
DECIBELS = 5.0
SEPARATOR = "\0"  # no file's name holds it


def names_of(name: str, count: int) -> list[str]:
    """Return what a recording and its variants are called in the plan of shards."""
    return [name, *(f"{name}{SEPARATOR}{number}" for number in range(1, count))]


def original(name: str) -> str:
    """Return the recording that a name in the plan of shards is of."""
    return name.partition(SEPARATOR)[0]


def vary(audio: Tensor, sample_rate: int, hop: int, name: str) -> Tensor:
    """Return a variant of audio [channels, samples] at another speed and level, and less than a frame later.

    Args:
        audio: of the recording.
        sample_rate: Hz.
        hop: samples of a frame.
        name: in the plan of shards; equal names give equal variants, and that of the recording itself leaves it alone.
    """
    if original(name) == name:
        return audio
    rng = np.random.default_rng(list(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()))
    speed, level, late = SPEED ** rng.uniform(-1, 1), 10 ** (rng.uniform(-DECIBELS, DECIBELS) / 20), int(rng.integers(hop))
    return pad(resample(audio, round(speed * sample_rate), sample_rate) * level, (late, 0))
