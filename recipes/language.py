"""Training a language model on shards of tokens: batches by number, one loss, and the same face as a `Trainer`."""

from pathlib import Path

import torch
from torch import Tensor

from ..lm.models.base import build
from ..lm.models.config import LanguageConfig
from ..lm.shards import read_shards
from . import machines
from .data.examples import Examples, ExampleSet
from .errors import RecipeError
from .model_run import ModelRun
from .recipe import Recipe


class LanguageTraining(ModelRun):
    """A run of a recipe with a `language` table.

    Args:
        recipe: of which language, data.train (shards), data.split, steps, batch, accumulate, seconds, optimizer, saving,
            precision, ema and seed count.
        folder: of the run.
        name: not used; a language model is called by its folder.
        device: "cpu", "cuda" or "cuda:N"; under torchrun every process has a GPU of its own.
    """

    mark, what = "language", "language model"

    def __init__(self, recipe: Recipe, folder: Path, name: str = "", device: str = "cpu") -> None:
        super().__init__(recipe, folder, device)
        if not isinstance(recipe.data.train, str) or not recipe.data.train:
            raise RecipeError("a language model trains on one folder of shards: data.train=SHARDS, made by `codec tokenize`")
        shards = read_shards(recipe.data.train, recipe.language.codec or None)
        rate = shards.about.frame_rates[0]
        frames = max(1, round(recipe.seconds * rate))
        self.examples = ExampleSet(shards, recipe.language, recipe.data.split, frames, recipe.seed)
        if left := len(shards) - len(self.examples):
            why = f"{recipe.language.labels} tells nothing of them" if recipe.language.told else "they hold no frame"
            self.say(f"{left} of {len(shards)} recordings are left out: {why}")
        self._begin(build(self._config(shards.about.codec, shards.about.weights_hash, rate)))

    def _config(self, codec: str, weights_hash: str, frame_rate: float) -> LanguageConfig:
        own = self.recipe.language
        labels = self.examples.labels if own.told == "label" else ()
        return LanguageConfig(
            own.kind, codec, weights_hash, frame_rate, self.examples.sizes, labels, own.told == "text", own.width, own.layers,
            own.heads, own.depth_width, own.depth_layers, own.dropout, own.span,
        )  # fmt: skip

    def _gradients(self) -> float:
        """Add up the gradients of a step, and return its loss, in nats per code."""
        return sum(self._accumulate(batch, share) for batch, share in self._parts())

    def _parts(self) -> list[tuple[Examples, float]]:
        """Return this machine's batches of a step, and what share of its codes each has: every code counts alike.

        Since gradients and losses are averaged over machines, shares are of the mean of what the machines have.
        """
        recipe = self.recipe
        first = self.step * recipe.accumulate
        numbers = [((first + part) * self.world + self.rank) * recipe.batch for part in range(recipe.accumulate)]
        batches = [self.examples.batch(number, recipe.batch) for number in numbers]
        counts = [self.model.predicted(batch.lengths, batch.ended) for batch in batches]
        whole = machines.mean_of({"codes": sum(counts)}, self.world, self.device)["codes"]
        return [(batch, count / whole) for batch, count in zip(batches, counts, strict=True)]

    def _accumulate(self, batch: Examples, share: float) -> float:
        """Add the gradients of one batch, and return its share of the step's loss."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            codes, lengths, ended = (x.to(self.device) for x in (batch.codes, batch.lengths, batch.ended))
            loss = self.model.loss(codes, lengths, ended, batch.told) * share
        loss.backward()
        return loss.item()

    def _write(self, weights: dict[str, Tensor], folder: Path) -> None:
        best = build(self.model.config)
        best.load_state_dict(weights)
        best.save(folder)
