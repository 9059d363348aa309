"""Training audio: a bank of recordings in memory, and random crops from it."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..codecs.audio import read_audio
from ..codecs.errors import AudioError

SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3"}


@dataclass
class Bank:
    """Recordings of one domain joined end to end: int16 [samples], and where each starts and ends."""

    samples: np.ndarray
    bounds: np.ndarray  # int64 [recordings + 1]

    def crop(self, length: int, rng: np.random.Generator) -> np.ndarray:
        """Return a random stretch [length] of one recording, chosen by duration; short ones are padded with silence."""
        at = int(rng.integers(self.bounds[-1]))
        which = int(np.searchsorted(self.bounds, at, side="right")) - 1
        start, end = int(self.bounds[which]), int(self.bounds[which + 1])
        if end - start <= length:
            piece, offset = self.samples[start:end], int(rng.integers(length - (end - start) + 1))
            return np.pad(piece, (offset, length - len(piece) - offset))
        first = int(rng.integers(start, end - length + 1))
        return self.samples[first : first + length]


def load_bank(paths: list[Path], sample_rate: int, cache: Path | None = None) -> tuple[Bank, list[str]]:
    """Decode recordings to mono at `sample_rate` Hz, once: `cache` keeps the result.

    Returns:
        The bank, and one sentence for each file that could not be read.
    """
    if cache is not None and cache.with_suffix(".npy").is_file():
        return Bank(np.load(cache.with_suffix(".npy"), mmap_mode="r"), np.load(cache.with_suffix(".bounds.npy"))), []
    pieces, failures = [], []
    for path in paths:
        try:
            waveform, _ = read_audio(path, sample_rate)
        except AudioError as error:
            failures.append(str(error))
            continue
        pieces.append((waveform.mean(0).clamp(-1, 1) * 32767).to(torch.int16).numpy())
    if not pieces:
        raise AudioError(f"none of {len(paths)} training files could be read: {'; '.join(failures[:3])}")
    bank = Bank(np.concatenate(pieces), np.cumsum([0, *map(len, pieces)]))
    if cache is not None:
        cache.parent.mkdir(parents=True, exist_ok=True)
        np.save(cache.with_suffix(".npy"), bank.samples)
        np.save(cache.with_suffix(".bounds.npy"), bank.bounds)
    return bank, failures


def find_audio(root: Path, domain: str) -> list[Path]:
    """Return a domain's training files: those of `manifest.csv` where there is one, else all audio below `root`.

    Raises:
        AudioError: if there are none.
    """
    manifest = root / "manifest.csv"
    if manifest.is_file():
        with manifest.open(newline="") as lines:
            paths = [root / row["path"] for row in csv.DictReader(lines) if row["split"] == "train" and row["domain"] == domain]
    else:
        paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise AudioError(f"no training audio of domain {domain} in {root}: expected a manifest.csv or audio files")
    return paths


@dataclass
class Batches:
    """Random batches [batch, samples] of crops, in proportion to each domain's weight."""

    banks: dict[str, Bank]
    weights: dict[str, float]
    batch: int
    samples: int
    rng: np.random.Generator

    def next(self) -> Tensor:
        """Return the next batch, float32, each item at a random level and sign."""
        names = list(self.banks)
        share = np.array([self.weights[name] for name in names])
        chosen = self.rng.choice(len(names), size=self.batch, p=share / share.sum())
        return torch.stack([self._item(self.banks[names[i]]) for i in chosen])

    def _item(self, bank: Bank) -> Tensor:
        for _ in range(4):  # mostly silent crops teach little, but some must stay
            piece = bank.crop(self.samples, self.rng).astype(np.float32) / 32768
            if np.abs(piece).max() > 0.01:
                break
        peak = max(float(np.abs(piece).max()), 1e-4)
        level = 10 ** self.rng.uniform(-1.0, -0.02)
        gain = min(level / peak, 10.0) if self.rng.random() < 0.7 else 1.0
        return torch.from_numpy(piece * gain * self.rng.choice([-1.0, 1.0]).astype(np.float32)).float()
