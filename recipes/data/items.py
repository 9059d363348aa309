"""Items of training audio by number: item n is a function of the seed and n alone, whoever makes it and whenever."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ...codecs.errors import AudioError
from ..errors import DataError
from ..recipe import DataSettings
from .augment import augment, check_augment
from .bank import Bank, load_bank
from .listing import Failures, list_recordings, measure
from .loudness import level
from .recording import Recording

MOST_FAILURES = 20  # recordings in a row that cannot be read before an item gives up


@dataclass(frozen=True)
class Item:
    """A crop: float32 [channels, samples], or None where no recording could be read.

    Attributes:
        waveform: after levels and augmentation.
        recording: number of the recording it is cut from.
        start: seconds at which the crop begins there; less than 0 where silence stands before what is shorter than an item.
        failures: what could not be read on the way.
    """

    waveform: Tensor | None
    recording: int
    start: float
    failures: Failures = field(default_factory=dict)


@dataclass
class Items(Dataset):
    """All items of a recipe's data; see `DataSettings` for what shapes them.

    Attributes:
        recordings: that can be read as far as is known.
        chances: probability of each to be drawn.
        bank: where it is decoded already.
    """

    recordings: list[Recording]
    chances: np.ndarray
    settings: DataSettings
    sample_rate: int
    channels: int
    seconds: float
    seed: int
    bank: Bank | None = None

    def __post_init__(self) -> None:
        check_augment(self.settings.augment)
        self.cumulated = np.cumsum(self.chances)

    @property
    def samples(self) -> int:
        """Samples of an item."""
        return round(self.seconds * self.sample_rate)

    def __getitem__(self, index: int) -> Item:
        rng = np.random.default_rng([self.seed & 0xFFFFFFFF, index])
        failures: Failures = {}
        for _ in range(MOST_FAILURES):
            number = min(int(np.searchsorted(self.cumulated, rng.random() * self.cumulated[-1])), len(self.recordings) - 1)
            try:
                return self._item(number, rng, failures)
            except AudioError as error:
                failures[self.recordings[number].name] = str(error)
        return Item(None, 0, 0.0, failures)

    def _item(self, number: int, rng: np.random.Generator, failures: Failures) -> Item:
        piece, start = self._crop(number, rng)
        settings = self.settings
        piece = augment(piece, rng, self.sample_rate, settings.augment, lambda: self._another(rng))
        if settings.loudness is not None:
            piece = level(piece, self.sample_rate, rng.uniform(*settings.loudness))
        sign = -1.0 if settings.flip and rng.random() < 0.5 else 1.0
        return Item(torch.from_numpy(np.ascontiguousarray(piece * np.float32(sign))), number, start, failures)

    def _crop(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, float]:
        """A stretch of one recording and its start: the first of several that is not too quiet, else the loudest."""
        room = max(0.0, self.length(number) - self.seconds)
        best: tuple[float, np.ndarray, float] = (-np.inf, np.zeros((self.channels, 0), np.float32), 0.0)
        for _ in range(max(1, self.settings.tries)):
            start = rng.uniform(0, room) if room else 0.0
            piece = self.read(number, start, self.seconds)
            power = 10 * np.log10(float((piece**2).mean()) + 1e-12) if piece.size else -np.inf
            best = max(best, (power, piece, start), key=lambda found: found[0])
            if power > self.settings.floor_db or not room:
                break
        piece, front = self._fill(best[1], rng)
        return piece, best[2] - front / self.sample_rate

    def _fill(self, piece: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, int]:
        """The piece with silence around it, or cut, to the length of an item, and the samples of silence before it."""
        missing = self.samples - piece.shape[1]
        if missing <= 0:
            return piece[:, : self.samples], 0
        front = int(rng.integers(missing + 1))
        return np.pad(piece, ((0, 0), (front, missing - front))), front

    def _another(self, rng: np.random.Generator) -> np.ndarray:
        number = min(int(np.searchsorted(self.cumulated, rng.random() * self.cumulated[-1])), len(self.recordings) - 1)
        return self._crop(number, rng)[0]

    def length(self, number: int) -> float:
        """Return the seconds of a recording."""
        if self.bank is not None:
            return float(self.bank.seconds[number])
        return self.recordings[number].seconds or self.recordings[number].measure()

    def read(self, number: int, start: float, seconds: float) -> np.ndarray:
        """Return a stretch of a recording as it is, float32 [channels, samples].

        Raises:
            AudioError: if it cannot be read.
        """
        if self.bank is not None:
            return self.bank.read(number, start, seconds)
        return self.recordings[number].read(start, seconds, self.sample_rate, self.channels)


def make_items(
    settings: DataSettings, sample_rate: int, channels: int, seconds: float, seed: int, say: Callable[[str], None] = print
) -> Items:
    """Find a recipe's recordings and return the items that are cut from them; `say` gets a line for what is left out.

    Raises:
        DataError: if there is nothing to train on.
    """
    found = list_recordings(settings.train, settings.split)
    if settings.weights:
        found = [part for part in found if part.domain in settings.weights]
        if not found:
            raise DataError(
                f"no recording is of the domains {', '.join(settings.weights)}: check data.weights and the manifest"
            )
    bank = None
    if settings.bank:
        bank, failures = load_bank(found, sample_rate, channels, Path(settings.cache or "runs/cache"), say)
        found, lengths = bank.recordings, bank.seconds
    else:
        found, failures = measure(found)
        lengths = np.array([part.seconds for part in found])
    if failures:
        say(
            f"{len(failures)} of {len(found) + len(failures)} recordings cannot be read, the first because "
            f"{next(iter(failures.values()))}"
        )
    if not found:
        raise DataError(f"none of {len(failures)} recordings can be read: {next(iter(failures.values()))}")
    return Items(found, chances(found, lengths, settings.weights), settings, sample_rate, channels, seconds, seed, bank)


def chances(recordings: list[Recording], lengths: np.ndarray, weights: dict[str, float]) -> np.ndarray:
    """Return how likely each recording is: by duration where all are known, domains by their weights where these are given."""
    shares = lengths.astype(np.float64) if len(lengths) and lengths.min() > 0 else np.ones(len(recordings))
    if weights:
        domains = np.array([part.domain for part in recordings])
        for domain, weight in weights.items():
            among = domains == domain
            if among.any():
                shares[among] *= weight / shares[among].sum()
    return shares / shares.sum()
