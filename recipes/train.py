"""A plain trainer for the shipped codec.

python -m toneme.recipes.train recipes/toneme_24k.yaml -o runs/toneme_24k [key=value ...]
"""

import argparse
import json
import math
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from ..codecs.base import config_from_dict
from ..codecs.files import atomic_path
from ..codecs.toneme24k import TonemeCodec, TonemeConfig
from .data import Batches, find_audio, load_bank
from .losses import SpectralLoss


@dataclass
class State:
    """All that a resumed run needs to take the steps that the whole run would have taken."""

    recipe: dict
    codec: TonemeCodec
    average: TonemeCodec
    optimizer: torch.optim.Optimizer
    batches: Batches
    depths: torch.Generator
    step: int = 0
    log: list[dict] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write everything to one file; an interrupted write leaves the last one in place."""
        saved = {
            "recipe": self.recipe, "codec": self.codec.state_dict(), "average": self.average.state_dict(),
            "counts": self.codec.quantizer.counts, "sums": self.codec.quantizer.sums, "optimizer": self.optimizer.state_dict(),
            "data": self.batches.rng.bit_generator.state, "depths": self.depths.get_state(),
            "torch": torch.get_rng_state(), "step": self.step, "log": self.log,
        }  # fmt: skip
        with atomic_path(path) as partial:
            torch.save(saved, partial)

    def load(self, path: Path) -> None:
        """Take up where `save` stood."""
        saved = torch.load(path, weights_only=True)
        self.codec.load_state_dict(saved["codec"])
        self.average.load_state_dict(saved["average"])
        self.codec.quantizer.counts.copy_(saved["counts"])
        self.codec.quantizer.sums.copy_(saved["sums"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.batches.rng.bit_generator.state = saved["data"]
        self.depths.set_state(saved["depths"])
        torch.set_rng_state(saved["torch"])
        self.step, self.log = saved["step"], saved["log"]


def start(recipe: dict) -> State:
    """Build everything that a recipe asks for."""
    torch.manual_seed(recipe["seed"])
    codec = TonemeCodec(config_from_dict(TonemeConfig, recipe["codec"])).train()
    average = TonemeCodec(codec.config)
    average.load_state_dict(codec.state_dict())
    decayed = [p for p in codec.parameters() if p.ndim > 1]
    others = [p for p in codec.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": recipe["weight_decay"]}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe["learning_rate"], betas=(0.8, 0.99))
    samples = round(recipe["seconds"] * codec.config.sample_rate)
    batches = Batches(
        _banks(recipe, codec.config.sample_rate),
        recipe["data"]["weights"],
        recipe["batch"],
        samples,
        np.random.default_rng(recipe["seed"]),
    )
    return State(recipe, codec, average, optimizer, batches, torch.Generator().manual_seed(recipe["seed"]))


def _banks(recipe: dict, sample_rate: int) -> dict:
    data, banks = recipe["data"], {}
    for domain in data["weights"]:
        cache = Path(data["cache"]) / domain
        ready = cache.with_suffix(".npy").is_file()
        banks[domain], failures = load_bank([] if ready else find_audio(Path(data["root"]), domain), sample_rate, cache)
        for failure in failures:
            print(f"skipped: {failure}", file=sys.stderr)
    return banks


def draw_depths(recipe: dict, codebooks: int, batch: int, generator: torch.Generator) -> Tensor:
    """Return how many codebooks each item uses, int64 [batch]."""
    any_depth = torch.randint(1, codebooks + 1, (batch,), generator=generator)
    full = torch.rand(batch, generator=generator) < recipe["full_depth"]
    return any_depth.masked_fill(full, codebooks)


def learning_rate(recipe: dict, step: int) -> float:
    """Return the rate at a step: linear warm-up, then a cosine to a fiftieth."""
    if step < recipe["warmup"]:
        return recipe["learning_rate"] * (step + 1) / recipe["warmup"]
    progress = min(1.0, (step - recipe["warmup"]) / max(1, recipe["steps"] - recipe["warmup"]))
    return recipe["learning_rate"] * (0.02 + 0.98 * (1 + math.cos(math.pi * progress)) / 2)


def train_step(state: State, loss: SpectralLoss) -> dict[str, float]:
    """Take one step and return what it measured.

    Raises:
        FloatingPointError: if the loss is not finite; the last saved state is whole.
    """
    recipe, codec = state.recipe, state.codec
    if state.step == recipe["quantize_from"]:
        _start_codebooks(state)
    target = state.batches.next()
    latents, measured = codec.encoder(target), {}
    terms = {"commitment": latents.new_zeros(())}
    if state.step >= recipe["quantize_from"]:
        depths = draw_depths(recipe, codec.config.codebooks, len(target), state.depths)
        quantized = codec.quantizer(latents.transpose(1, 2), depths)
        latents = quantized.latents.transpose(1, 2)
        terms["commitment"] = recipe["commitment"] * quantized.commitment
        measured["usage"] = quantized.usage.min().item()
    terms.update(loss(codec.decoder(latents)[:, : target.shape[1]], target))
    total = torch.stack(list(terms.values())).sum()
    if not torch.isfinite(total):
        raise FloatingPointError(
            f"the loss is {total.item()} at step {state.step}: lower learning_rate, and resume from the last state"
        )
    state.optimizer.zero_grad(set_to_none=True)
    total.backward()
    norm = torch.nn.utils.clip_grad_norm_(codec.parameters(), recipe["clip"])
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(recipe, state.step)
    state.optimizer.step()
    _average(state)
    state.step += 1
    return {**{k: v.item() for k, v in terms.items()}, "gradient": norm.item(), **measured}


@torch.no_grad()
def _start_codebooks(state: State) -> None:
    """Set the codebooks by k-means on latents of enough batches for ten vectors per code."""
    wanted, rows = 10 * state.codec.config.codebook_size, []
    while sum(map(len, rows)) < wanted:
        rows.append(state.codec.encoder(state.batches.next()).flatten(0, 1))
    state.codec.quantizer.start(torch.cat(rows))


@torch.no_grad()
def _average(state: State) -> None:
    decay = min(state.recipe["ema"], (1 + state.step) / (10 + state.step))
    for ours, theirs in zip(state.average.parameters(), state.codec.parameters(), strict=True):
        ours.lerp_(theirs, 1 - decay)
    # the codebooks are moving averages already, and must be the very ones that the weights saw
    for ours, theirs in zip(state.average.buffers(), state.codec.buffers(), strict=True):
        ours.copy_(theirs)


def train(state: State, folder: Path) -> None:
    """Run to the recipe's last step, saving on the way; `folder/state.pt` is where a later run resumes."""
    folder.mkdir(parents=True, exist_ok=True)
    loss = SpectralLoss(
        state.codec.config.sample_rate,
        complex_weight=state.recipe["complex_weight"],
        waveform_weight=state.recipe["waveform_weight"],
    )
    began, sums = time.monotonic(), {}
    while state.step < state.recipe["steps"]:
        for key, value in train_step(state, loss).items():
            sums[key] = sums.get(key, 0.0) + value
        if state.step % 50 == 0:
            row = {
                "step": state.step,
                **{k: round(v / 50, 4) for k, v in sums.items()},
                "seconds": round(time.monotonic() - began, 1),
            }
            state.log.append(row)
            print(json.dumps(row), flush=True)
            sums = {}
        if state.step % state.recipe["save_every"] == 0 or state.step == state.recipe["steps"]:
            state.save(folder / "state.pt")
            state.average.eval().save(folder / "codec")


def override(recipe: dict, settings: list[str]) -> dict:
    """Apply `key=value` settings, dots reaching into tables, values read as YAML.

    Raises:
        ValueError: if a setting is not of that form or names no key of the recipe.
    """
    for setting in settings:
        key, found, value = setting.partition("=")
        *parents, last = key.split(".")
        table: Any = recipe
        for parent in parents:
            table = table.get(parent, {})
        if not found or (last not in table and parents != ["codec"]):
            raise ValueError(f"{setting} sets nothing: write key=value with a key of the recipe")
        table[last] = yaml.safe_load(value)
    return recipe


def main() -> None:
    """Train a recipe from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("settings", nargs="*")
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/toneme_24k"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_intermixed_args()
    torch.set_num_threads(given.threads)
    state = start(override(yaml.safe_load(given.recipe.read_text()), given.settings))
    if (given.out / "state.pt").is_file():
        state.load(given.out / "state.pt")
    train(state, given.out)


if __name__ == "__main__":
    main()
