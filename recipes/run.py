"""A run of a recipe: steps, one after another, and what is told and kept of them."""

import math
import signal
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from ..codecs.files import atomic_path
from . import machines
from .journal import Journal
from .recipe import OptimizerSettings, Recipe, to_table, to_yaml
from .schedule import learning_rate
from .signals import on_end_signals
from .tables import changes, read_table


class Run:
    """The loop around `take_step`.

    A subclass sets the optimizer, and has take_step(), save() and _load().

    Args:
        recipe: what to do.
        folder: of the run.
        device: "cpu", "cuda" or "cuda:N"; under torchrun every process has a GPU of its own.
    """

    optimizer: torch.optim.Optimizer

    def __init__(self, recipe: Recipe, folder: Path, device: str) -> None:
        self.recipe, self.folder = recipe, folder
        self.rank, self.world = machines.join(device)
        self.device = torch.device(machines.local_device(device))
        torch.manual_seed(recipe.seed)
        self.step, self.stopping, self.ended_by = 0, False, int(signal.SIGTERM)
        self.journal: Journal | None = None

    def take_step(self) -> dict[str, float]:
        """Take one step and return what it measured."""
        raise NotImplementedError

    def save(self) -> None:
        """Write the state and the result."""
        raise NotImplementedError

    def _load(self) -> None:
        raise NotImplementedError

    @property
    def _scheduled(self) -> int:
        """Steps that learning rates go over."""
        return self.recipe.steps

    def _seed(self) -> None:
        """Let what is drawn depend on the seed, the step and the machine alone."""
        torch.manual_seed((self.recipe.seed << 32) + self.step * self.world + self.rank)

    def _adamw(self, module: nn.Module, fused: bool | None = None) -> torch.optim.Optimizer:
        """Return the recipe's optimizer of what learns in a module; weights decay, gains and biases do not."""
        settings, learned = self.recipe.optimizer, [p for p in module.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in learned if p.ndim > 1], "weight_decay": settings.weight_decay},
            {"params": [p for p in learned if p.ndim <= 1], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=fused)

    def _move(
        self,
        learned: list[nn.Parameter],
        step: int,
        optimizer: torch.optim.Optimizer | None = None,
        settings: OptimizerSettings | None = None,
    ) -> float:
        """Average gradients over machines, clip, step where they are finite, and return their norm before they were clipped.

        Optimizer and settings are the run's own unless others are given.
        """
        optimizer, settings = optimizer or self.optimizer, settings or self.recipe.optimizer
        machines.average_gradients(learned, self.world)
        norm = torch.nn.utils.clip_grad_norm_(learned, settings.clip or float("inf")).item()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(settings, step, self._scheduled)
        if math.isfinite(norm):
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return norm

    def run(self, resume: bool = False) -> int:
        """Train to the recipe's last step, or until SIGTERM; return the step reached.

        Raises:
            TrainingError: if the run cannot go on.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if resume:
            self._load()
            self._say_changes()
        elif self.rank == 0:
            with atomic_path(self.folder / "recipe.yaml") as partial:
                partial.write_text(to_yaml(self.recipe), encoding="utf-8")
        self.journal = Journal(self.folder, self.recipe.steps, self.step, quiet=self.rank > 0)
        try:
            with on_end_signals(self._stop):
                self._loop(self.journal)
        finally:
            self._close()
            self.journal.close()
            machines.leave()
        return self.step

    def _loop(self, journal: Journal) -> None:
        saving, saved = self.recipe.saving, -1  # a run may have ended between its last state and the result
        while self.step < self.recipe.steps and not machines.any_of(self.stopping, self.world, self.device):
            journal.add(self.take_step())
            journal.tick(self.step)
            self._tell(journal)
            if self.step % saving.every == 0:
                self.save()
                saved = self.step
        if saved != self.step:
            self.save()
        if self.step < self.recipe.steps:
            self.say(f"stopped at step {self.step}, and saved: go on with --resume")

    def _tell(self, journal: Journal) -> None:
        """Write figures where it is time to."""
        if self.step % self.recipe.saving.log == 0:
            journal.write(self.step, machines.mean_of(journal.means(), self.world, self.device), self._shares())

    def _shares(self) -> Tensor:
        """Return the share of each codebook that is in use, empty where there are none."""
        return torch.zeros(0)

    def _close(self) -> None:
        """End what the run has started."""

    def _stop(self, number: int) -> None:
        self.stopping, self.ended_by = True, number

    def _say_changes(self) -> None:
        """Say which settings are others than those that the run began with: they may have been forgotten."""
        path = self.folder / "recipe.yaml"
        if path.is_file() and (found := changes(read_table(path), to_table(self.recipe))):
            self.say(f"settings other than in {path}, with which the run began: {', '.join(found)}")

    def say(self, line: str) -> None:
        """Print a line on stderr, on the first machine."""
        if self.journal is not None:
            self.journal.say(line)
        elif self.rank == 0:
            print(line, file=sys.stderr, flush=True)
