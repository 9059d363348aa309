"""Examples for language models by number: crops of the tokens in shards, and what a model is told about each."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from torch import Tensor

from ...lm.shards import TokenShards
from ..errors import DataError
from ..recipe import LanguageSettings
from .listing import read_manifest

FOLDER = "folder"


@dataclass(frozen=True)
class Examples:
    """A batch: codes int64 [batch, codebooks, frames], frames in use, whether each ends there, and what it is told."""

    codes: Tensor
    lengths: Tensor
    ended: Tensor
    told: list[str | None]


class ExampleSet:
    """All recordings of some shards, in memory: an hour of toneme-24k's 8 codebooks is 3 MB.

    Args:
        shards: of one stream.
        settings: what the model is told, and how many codebooks it writes.
        split: rows of a manifest with such a column that are used.
        frames: the most of an example.
        seed: of order, crops and what is not told.

    Raises:
        DataError: if there is nothing to train on.
    """

    def __init__(self, shards: TokenShards, settings: LanguageSettings, split: str, frames: int, seed: int) -> None:
        sizes, about = shards.about.codebook_sizes, shards.about
        if len(sizes) != 1 or about.side:
            raise DataError(
                f"{about.codec} writes {len(sizes)} streams and {len(about.side)} kinds of numbers beside codes, and a model "
                "writes one stream of codes: tokenise with another codec, as toneme_24k or mimi"
            )
        if not 0 <= settings.codebooks <= len(sizes[0]):
            raise DataError(f"language.codebooks must be from 0 to {len(sizes[0])} on these shards; got {settings.codebooks}")
        self.sizes = sizes[0][: settings.codebooks or None]
        self.frames, self.seed, self.drop = frames, seed, settings.drop
        self.codes: list[np.ndarray] = []
        self.told: list[str | None] = []
        self._epoch, self._order = -1, np.zeros(0, np.int64)
        self._read(shards, Told(settings, split) if settings.told else None)
        if not self.codes:
            raise DataError(f"none of {len(shards)} recordings can be used: check data.train, data.split and language.labels")

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def labels(self) -> tuple[str, ...]:
        """All that is told, in order."""
        return tuple(sorted({told for told in self.told if told is not None}))

    def batch(self, first: int, count: int) -> Examples:
        """Return examples number `first` to `first + count - 1`, the same ones whenever they are asked for."""
        made = [self._example(number) for number in range(first, first + count)]
        lengths = torch.tensor([codes.shape[-1] for codes, _, _ in made])
        codes = torch.zeros(count, len(self.sizes), int(lengths.max()), dtype=torch.int64)
        for row, (own, _, _) in zip(codes, made, strict=True):
            row[:, : own.shape[-1]] = torch.from_numpy(own.astype(np.int64))
        return Examples(codes, lengths, torch.tensor([ended for _, ended, _ in made]), [told for _, _, told in made])

    def _example(self, number: int) -> tuple[np.ndarray, bool, str | None]:
        index = self._index(number)
        drawn = np.random.default_rng((self.seed, 1, number))
        codes, told = self.codes[index], self.told[index]
        start = int(drawn.integers(0, max(0, codes.shape[-1] - self.frames) + 1))
        ended = start + self.frames >= codes.shape[-1]
        return codes[:, start : start + self.frames], ended, None if drawn.random() < self.drop else told

    def _index(self, number: int) -> int:
        """Return which recording an example is of; the order of an epoch is kept until another is asked for."""
        epoch, place = divmod(number, len(self.codes))
        if epoch != self._epoch:
            self._order = np.random.default_rng((self.seed, epoch)).permutation(len(self.codes))
            self._epoch = epoch
        return int(self._order[place])

    def _read(self, shards: TokenShards, told: "Told | None") -> None:
        for number in shards.numbers:
            for item in shards.items(number):
                known = None if told is None else told.of(item.path)
                if item.streams[0].shape[-1] and (told is None or known is not None):
                    self.codes.append(item.streams[0][: len(self.sizes)])
                    self.told.append(known)


class Told:
    """What stands about recordings in a manifest, or is the name of their folder.

    A recording is found by its path, of which shards know the part below the folder that was tokenised.
    """

    def __init__(self, settings: LanguageSettings, split: str) -> None:
        if settings.told not in ("label", "text") or not settings.labels:
            raise DataError(
                f'language.told must be "label" or "text" and language.labels a manifest, or "{FOLDER}"; got {settings.told!r} '
                f"and {settings.labels!r}"
            )
        self.whole: dict[str, str] = {}
        self.ends: dict[str, str | None] = {}
        self.folders = settings.labels == FOLDER
        for path, told in [] if self.folders else _rows(Path(settings.labels), settings.told, split):
            self.whole[path] = told
            for end in _ends(path):
                # None: two recordings end alike of which not the same is told
                self.ends[end] = told if self.ends.get(end, told) == told else None

    def of(self, path: str) -> str | None:
        """Return what is told of a recording, None where nothing is known."""
        if self.folders:
            return PurePosixPath(path).parent.name or None
        if path in self.ends:
            return self.ends[path]
        return next((self.whole[end] for end in _ends(path) if end in self.whole), None)


def _ends(path: str) -> list[str]:
    parts = PurePosixPath(path).parts
    return ["/".join(parts[i:]) for i in range(len(parts))]


def _rows(manifest: Path, column: str, split: str) -> Iterable[tuple[str, str]]:
    """Yield path and what is told of the rows of a split that say both."""
    try:
        for row in read_manifest(manifest):
            if row.get("split", split) == split and row.get("path") and row.get(column):
                yield str(PurePosixPath(row["path"])), str(row[column])
    except (OSError, ValueError) as error:
        raise DataError(
            f"{manifest} is no manifest ({error}): language.labels is a .csv or .jsonl with columns path and {column}"
        ) from None
