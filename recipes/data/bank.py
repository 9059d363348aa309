"""A bank of recordings: decoded once to one int16 array on disk, so that a crop costs no decoding.

In the cache it is two files: a table `bank-KEY.table.npy`, int64 [recordings, 4], with each recording's stamp and samples (0
where it cannot be read), and the samples end to end in `bank-KEY-CONTENT.npy`. The table names the other and is written last,
so that both are of one state whenever a run is killed, or another process reads them.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...codecs.errors import AudioError
from ...codecs.files import atomic_path
from ..errors import DataError
from .listing import Failures
from .recording import Recording
from .stamp import Stamp, changed_since, renewed, stamp

WHOLE = 1e9  # seconds: more than any recording has
LENGTH = 3  # column of the table, after a stamp's
Pieces = dict[int, tuple[Stamp, np.ndarray]]  # int16 [channels, samples] by number of the recording


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


def load_bank(
    recordings: list[Recording], sample_rate: int, channels: int, cache: Path, say: Callable[[str], None] = print
) -> tuple[Bank, Failures]:
    """Return the bank of recordings, and what could not be read.

    Decoded is what the folder `cache` does not have yet, and what has changed since; `say` gets a line about the latter.

    Raises:
        DataError: if none can be read.
    """
    key = hashlib.sha256(repr((sample_rate, channels, [part.name for part in recordings])).encode()).hexdigest()[:16]
    samples, table = _kept(cache, key, recordings, channels)
    rows = enumerate(table.tolist())
    stamps = {number: renewed(recordings[number], row[:LENGTH]) for number, row in rows if row[LENGTH]}
    other = [number for number, known in stamps.items() if known is None]
    if other:
        say(f"{len(other)} of {len(recordings)} recordings changed since {cache} was written: they are decoded anew")
    pieces, failures = _decode(recordings, [*other, *np.flatnonzero(table[:, LENGTH] == 0).tolist()], sample_rate, channels)
    now = _table(table, stamps, pieces)
    if not (there := np.flatnonzero(now[:, LENGTH])).size:
        raise DataError(f"none of {len(recordings)} recordings can be read: {next(iter(failures.values()), 'they are empty')}")
    path = cache / _name(key, now)
    if not path.is_file():
        _write(path, _joined(samples, table, now, pieces))
    if not np.array_equal(now, table):
        _write(cache / f"bank-{key}.table.npy", now)
        _tidy(path, key)
    kept = [recordings[number] for number in there]
    return Bank(np.load(path, mmap_mode="r"), _bounds(now)[[0, *(there + 1)]], kept, sample_rate), failures


def _kept(cache: Path, key: str, recordings: list[Recording], channels: int) -> tuple[np.ndarray, np.ndarray]:
    """What the cache has: samples and table."""
    for _ in range(3):  # another process may put a new state in place between the two
        try:
            table = np.load(cache / f"bank-{key}.table.npy")
            return np.load(cache / _name(key, table), mmap_mode="r"), table
        except FileNotFoundError:
            continue
    return _kept_without_stamps(cache, key, recordings, channels)


def _kept_without_stamps(cache: Path, key: str, recordings: list[Recording], channels: int) -> tuple[np.ndarray, np.ndarray]:
    """What the cache has of an earlier form, which had bounds in place of the table; nothing without."""
    table = np.zeros((len(recordings), 4), np.int64)
    samples, bounds = cache / f"bank-{key}.npy", cache / f"bank-{key}.bounds.npy"
    if not (samples.is_file() and bounds.is_file()):
        return np.zeros((channels, 0), np.int16), table
    held = np.load(samples, mmap_mode="r")  # at once, since another process may take it over meanwhile
    (ends, numbers), written = np.load(bounds).T, bounds.stat().st_mtime_ns
    table[numbers[1:], LENGTH] = np.diff(ends)
    for number in numbers[1:]:
        if not changed_since(recordings[number], written):
            table[number, :LENGTH] = stamp(recordings[number])
    return held, table


def _decode(recordings: list[Recording], numbers: list[int], sample_rate: int, channels: int) -> tuple[Pieces, Failures]:
    """Read recordings."""
    pieces: Pieces = {}
    failures: Failures = {}
    for number in numbers:
        recording = recordings[number]
        known = stamp(recording)  # before it is read, so that what is written meanwhile is seen the next time
        try:
            waveform = recording.read(0, WHOLE if not recording.seconds else recording.seconds + 1, sample_rate, channels)
        except AudioError as error:
            failures[recording.name] = str(error)
            continue
        if not waveform.shape[1]:
            failures[recording.name] = f"{recording.name} is empty"
            continue
        pieces[number] = known, (waveform.clip(-1, 32767 / 32768) * 32768).astype(np.int16)
    return pieces, failures


def _table(table: np.ndarray, stamps: dict[int, Stamp | None], pieces: Pieces) -> np.ndarray:
    """The table with pieces in it, and without what changed and cannot be read."""
    now = table.copy()
    for number, known in stamps.items():
        now[number] = (0, 0, 0, 0) if known is None else (*known, now[number, LENGTH])
    for number, (known, piece) in pieces.items():
        now[number] = *known, piece.shape[1]
    return now


def _joined(samples: np.ndarray, table: np.ndarray, now: np.ndarray, pieces: Pieces) -> np.ndarray:
    """Samples of all recordings of a new table, out of pieces and of what there was."""
    bounds, there = _bounds(table), np.flatnonzero(now[:, LENGTH]).tolist()
    before = {number: samples[:, bounds[number] : bounds[number + 1]] for number in there}
    return np.concatenate([pieces[n][1] if n in pieces else before[n] for n in there], axis=1)


def _write(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as partial:
        np.save(partial, values)


def _tidy(path: Path, key: str) -> None:
    """Remove samples of earlier states of a bank, and bounds, which had a file of their own once."""
    for old in [*path.parent.glob(f"bank-{key}-*.npy"), *(path.parent / f"bank-{key}{end}.npy" for end in ("", ".bounds"))]:
        if old != path:
            old.unlink(missing_ok=True)


def _name(key: str, table: np.ndarray) -> str:
    """Name of the file of the samples that a table tells of."""
    return f"bank-{key}-{hashlib.sha256(table[:, 2:].tobytes()).hexdigest()[:16]}.npy"


def _bounds(table: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(table[:, LENGTH])])
