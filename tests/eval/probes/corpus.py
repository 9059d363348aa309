"""A made corpus: tones of two pitches as digits of two speakers, folds of noise and tones, and a manifest with texts."""

import csv
from pathlib import Path

import torch

from toneme.codecs.audio import write_audio

RATE = 16000


def write_corpus(root: Path, clips: int = 12) -> Path:
    """Write probes/digits.csv, probes/esc10.csv, manifest.csv and their audio; return the folder."""
    (root / "probes").mkdir(parents=True)
    (root / "train").mkdir()
    digits, sounds, texts = [], [], []
    for i in range(clips):
        path = f"train/{i}.wav"
        write_audio(root / path, _tone(300.0 if i % 2 else 2000.0, i)[None], RATE)
        split = "test" if i % 3 == 2 else "train"
        digits.append({"path": path, "label": str(i % 2), "split": split, "speaker": "anna" if i % 4 < 2 else "berta"})
        sounds.append({"path": path, "label": "low" if i % 2 else "high", "split": split, "fold": str(1 + i // 2 % 3)})
        texts.append(
            {"path": path, "split": "eval" if i % 3 == 2 else "train", "source": "made", "text": "NO!" if i % 2 else "Yes"}
        )
    for name, rows in (("probes/digits.csv", digits), ("probes/esc10.csv", sounds), ("manifest.csv", texts)):
        with (root / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return root


def _tone(hertz: float, seed: int) -> torch.Tensor:
    noise = torch.randn(RATE // 4, generator=torch.Generator().manual_seed(seed))
    return 0.3 * torch.sin(6.2832 * hertz / RATE * torch.arange(RATE // 4)) + 0.01 * noise
