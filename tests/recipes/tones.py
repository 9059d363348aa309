"""Recordings in which every letter is a tone, with a manifest that says which."""

import csv
from pathlib import Path

import numpy as np
import torch

from toneme.codecs.audio import write_audio

TONES = {"a": 300.0, "b": 700.0, "c": 1500.0, "d": 3100.0}  # Hz
SECONDS = 0.12  # of a letter, and of the silence between words


def tone(letter: str, rate: int = 16000) -> np.ndarray:
    """Return the sound of a letter, float32 [samples]; silence of one without a tone."""
    time = np.arange(round(SECONDS * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * TONES[letter] * time) * np.hanning(len(time))).astype(np.float32) if letter in TONES \
        else np.zeros(len(time), np.float32)  # fmt: skip


def write_tones(folder: Path, texts: list[str]) -> Path:
    """Write a recording of each text, and return the manifest of all."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    with (folder / "manifest.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "text"])
        for number, text in enumerate(texts):
            sound = np.concatenate([tone(letter) for letter in text or "  "])
            sound = sound + 0.003 * rng.standard_normal(len(sound)).astype(np.float32)
            write_audio(folder / f"{number}.wav", torch.from_numpy(sound)[None], 16000)
            rows.writerow([f"{number}.wav", text])
    return folder / "manifest.csv"


def made_texts(count: int) -> list[str]:
    """Return texts of two words each."""
    rng = np.random.default_rng(1)
    return [" ".join("".join(rng.choice(list(TONES), int(rng.integers(2, 4)))) for _ in range(2)) for _ in range(count)]
