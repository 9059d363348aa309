"""A bank of recordings: decoded once to one int16 array on disk, so that a crop costs no decoding."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...codecs.errors import AudioError
from ...codecs.files import atomic_path
from ..errors import DataError
from .listing import Failures
from .recording import Recording

WHOLE = 1e9  # seconds: more than any recording has


@dataclass
class Bank:
    """Recordings joined end to end: int16 [channels, samples], where each starts and ends, and what they are."""

    samples: np.ndarray
    bounds: np.ndarray  # int64 [recordings + 1]
    recordings: list[Recording]
    sample_rate: int

    def read(self, number: int, start: float, seconds: float) -> np.ndarray:
        """Return float32 [channels, samples] of one recording from `start` seconds on, shorter at its end."""
        first = int(self.bounds[number]) + round(start * self.sample_rate)
        last = min(first + round(seconds * self.sample_rate), int(self.bounds[number + 1]))
        return self.samples[:, first:last].astype(np.float32) / 32768

    @property
    def seconds(self) -> np.ndarray:
        """Length of each recording."""
        return np.diff(self.bounds) / self.sample_rate


def load_bank(recordings: list[Recording], sample_rate: int, channels: int, cache: Path) -> tuple[Bank, Failures]:
    """Return the bank of recordings, decoded where the folder `cache` does not have it yet, and what could not be read.

    Raises:
        DataError: if none can be read.
    """
    key = hashlib.sha256(repr((sample_rate, channels, [part.name for part in recordings])).encode()).hexdigest()[:16]
    samples, bounds = cache / f"bank-{key}.npy", cache / f"bank-{key}.bounds.npy"
    failures: Failures = {}
    if not (samples.is_file() and bounds.is_file()):
        cache.mkdir(parents=True, exist_ok=True)
        failures = _write(recordings, sample_rate, channels, samples, bounds)
    table = np.load(bounds)
    kept = [recordings[number] for number in table[1:, 1]]
    return Bank(np.load(samples, mmap_mode="r"), table[:, 0], kept, sample_rate), failures


def _write(recordings: list[Recording], sample_rate: int, channels: int, samples: Path, bounds: Path) -> Failures:
    pieces, kept, failures = [], [], {}
    for number, recording in enumerate(recordings):
        try:
            waveform = recording.read(0, WHOLE if not recording.seconds else recording.seconds + 1, sample_rate, channels)
        except AudioError as error:
            failures[recording.name] = str(error)
            continue
        if not waveform.shape[1]:
            failures[recording.name] = f"{recording.name} is empty"
            continue
        pieces.append((waveform.clip(-1, 32767 / 32768) * 32768).astype(np.int16))
        kept.append(number)
    if not kept:
        raise DataError(f"none of {len(recordings)} recordings can be read: {next(iter(failures.values()), 'they are empty')}")
    ends = np.cumsum([0, *(piece.shape[1] for piece in pieces)])
    with atomic_path(samples) as partial:
        np.save(partial, np.concatenate(pieces, axis=1))
    with atomic_path(bounds) as partial:  # last, since both together are the bank
        np.save(partial, np.stack([ends, np.array([0, *kept])], axis=1))
    return failures
