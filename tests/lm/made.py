"""A small untrained codec and made recordings for the tests of shards."""

from pathlib import Path

import numpy as np
import soundfile
import torch

from toneme.codecs.toneme24k import TonemeCodec, TonemeConfig

SMALL = {"encoder_dim": 16, "encoder_blocks": (1, 1), "decoder_dim": 16, "decoder_blocks": (1, 1), "latent_dim": 8}


def make_codec(folder: Path, seed: int = 0) -> Path:
    """Save a codec of 24 kHz mono with 8 codebooks of 1024 and return its folder."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        TonemeCodec(TonemeConfig(**SMALL), "tiny").eval().save(folder)
    return folder


def make_recordings(folder: Path, count: int, longest: float = 1.0, seed: int = 0) -> list[Path]:
    """Write noise of 16 kHz, every third in stereo, in two folders, and return the files."""
    rng = np.random.default_rng(seed)
    paths = []
    for i in range(count):
        path = folder / ("left", "right")[i % 2] / f"{i:03d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (int(16000 * rng.uniform(0.02, longest)), 2 if i % 3 == 0 else 1)
        soundfile.write(path, rng.standard_normal(shape) * 0.1, 16000)
        paths.append(path)
    return paths


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file of a folder of shards."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != ".lock"}
