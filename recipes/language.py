"""Training a language model on shards of tokens: batches by number, one loss, and the same face as a `Trainer`."""

import math
from pathlib import Path
from typing import Any

import torch

from ..lm.models.base import build
from ..lm.models.config import LanguageConfig
from ..lm.shards import read_shards
from . import machines
from .average import Average
from .data.examples import Examples, ExampleSet
from .errors import RecipeError, TrainingError
from .recipe import Recipe
from .run import Run
from .state import read_newest, write_exact


class LanguageTraining(Run):
    """A run of a recipe with a `language` table.

    Args:
        recipe: of which language, data.train (shards), data.split, steps, batch, accumulate, seconds, optimizer, saving,
            precision, ema and seed count.
        folder: of the run.
        name: not used; a language model is called by its folder.
        device: "cpu", "cuda" or "cuda:N"; under torchrun every process has a GPU of its own.
    """

    result = "model"

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
        self.model = build(self._config(shards.about.codec, shards.about.weights_hash, rate)).to(self.device)
        self.optimizer = self._optimizer()
        self.average = Average(self.model, recipe.ema)

    def _config(self, codec: str, weights_hash: str, frame_rate: float) -> LanguageConfig:
        own = self.recipe.language
        labels = self.examples.labels if own.told == "label" else ()
        return LanguageConfig(
            own.kind, codec, weights_hash, frame_rate, self.examples.sizes, labels, own.told == "text", own.width, own.layers,
            own.heads, own.depth_width, own.depth_layers, own.dropout, own.span,
        )  # fmt: skip

    def _optimizer(self) -> torch.optim.Optimizer:
        settings = self.recipe.optimizer
        learned = list(self.model.parameters())
        groups = [
            {"params": [p for p in learned if p.ndim > 1], "weight_decay": settings.weight_decay},
            {"params": [p for p in learned if p.ndim <= 1], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas)

    def take_step(self) -> dict[str, float]:
        """Take one step and return its loss, in nats per code, and the gradient's norm.

        Raises:
            TrainingError: if either is not finite.
        """
        self._seed()
        total = 0.0
        for batch, share in self._parts():
            total += self._accumulate(batch, share)
        norm = self._move(list(self.model.parameters()), self.step)
        if not (math.isfinite(total) and math.isfinite(norm)):
            raise TrainingError(
                f"the loss is {total} and its gradient {norm} at step {self.step}: lower optimizer.learning_rate, and go on "
                "from the last state with --resume"
            )
        self.average.follow(self.step)
        self.step += 1
        return {"loss": total, "gradient": norm}

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

    def save(self) -> None:
        """Write the state and the model, whose weights are the averaged ones."""
        if self.rank:
            return
        write_exact(self._state(), self.folder / "states", self.recipe.saving.keep)
        best = build(self.model.config)
        best.load_state_dict(self.average.state_dict())
        best.save(self.folder / self.result)

    def _state(self) -> dict[str, Any]:
        return {
            "language": True, "step": self.step, "model": self.model.state_dict(), "average": self.average.weights,
            "optimizer": self.optimizer.state_dict(),
        }  # fmt: skip

    def _load(self) -> None:
        folder = self.folder / "states"
        state = read_newest(folder)
        if state is None or "language" not in state:
            raise TrainingError(f"{folder} holds no state of a language model that can be read: leave out --resume")
        try:
            self.model.load_state_dict(state["model"])
        except RuntimeError:
            raise TrainingError("the state is of a model of another shape: resume with the recipe.yaml beside it") from None
        for name, value in state["average"].items():
            self.average.weights[name].copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        self.say(f"resumed at step {self.step}")
