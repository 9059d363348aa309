"""Recipes at toy sizes, for every test that trains."""

from pathlib import Path

import torch

from toneme.recipes.recipe import read_recipe
from toneme.recipes.trainer import Trainer

SMALL = [
    "codec.config.encoder_dim=16", "codec.config.decoder_dim=16", "codec.config.encoder_blocks=[1, 1]",
    "codec.config.decoder_blocks=[1, 1]", "codec.config.latent_dim=4", "codec.config.codebooks=2",
    "codec.config.codebook_size=8", "batch=2",
    "seconds=0.2", "steps=8", "optimizer.warmup=2", "quantizer.from_step=2", "saving.every=4", "saving.log=4",
    "saving.audio=0", "data.workers=0", "losses.spectral.windows=[256]", "losses.spectral.mels=[20]",
    "losses.spectral.complex_windows=[256]",
]  # fmt: skip
CRITICS = [
    "adversarial.discriminators={multi_scale_stft: {windows: [256], width: 4}}", "adversarial.from_step=3",
    "adversarial.share=0.7",
]  # fmt: skip


def small(audio: Path, folder: Path, *settings: str) -> Trainer:
    """Return a run of a toy codec on a folder of audio."""
    return Trainer(read_recipe("tiny", [*SMALL, f"data.train={audio}", *settings]), folder)


def state_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Return a copy of all weights and codebooks of a run."""
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}
