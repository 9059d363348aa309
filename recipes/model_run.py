"""A run that trains one model by one loss, in place of a codec: its optimizer, average, states and refusals."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .average import Average
from .errors import TrainingError
from .run import Run
from .state import read_newest, write_exact


class ModelRun(Run):
    """The part of such runs that does not depend on what the model learns.

    A subclass calls `_begin`, and has _gradients() and _write(). Its states bear its `mark`, and its messages call the model
    `what`.

    Args:
        recipe: of which steps, optimizer, saving, precision, ema and seed count, and what the subclass says.
        folder: of the run.
        device: "cpu", "cuda" or "cuda:N"; under torchrun every process has a GPU of its own.
    """

    result = "model"
    mark: str
    what: str
    model: Any

    def _begin(self, model: nn.Module) -> None:
        """Set the model that learns."""
        self.model = model.to(self.device)
        self.optimizer = self._adamw(self.model)
        self.average = Average(self.model, self.recipe.ema)

    def _gradients(self) -> float:
        """Add up the gradients of a step, and return its loss."""
        raise NotImplementedError

    def _write(self, weights: dict[str, torch.Tensor], folder: Path) -> None:
        """Write a model of these weights to a folder."""
        raise NotImplementedError

    def take_step(self) -> dict[str, float]:
        """Take one step and return its loss and the gradient's norm.

        Raises:
            TrainingError: if either is not finite.
        """
        self._seed()
        total = self._gradients()
        norm = self._move(list(self.model.parameters()), self.step)
        if not (math.isfinite(total) and math.isfinite(norm)):
            raise TrainingError(
                f"the loss is {total} and its gradient {norm} at step {self.step}: lower optimizer.learning_rate, and go on "
                "from the last state with --resume"
            )
        self.average.follow(self.step)
        self.step += 1
        return {"loss": total, "gradient": norm}

    def save(self) -> None:
        """Write the state and the model, whose weights are the averaged ones."""
        if self.rank:
            return
        write_exact(self._state(), self.folder / "states", self.recipe.saving.keep)
        self._write(self.average.state_dict(), self.folder / self.result)

    def _state(self) -> dict[str, Any]:
        return {
            self.mark: True, "step": self.step, "model": self.model.state_dict(), "average": self.average.weights,
            "optimizer": self.optimizer.state_dict(),
        }  # fmt: skip

    def _load(self) -> None:
        folder = self.folder / "states"
        state = read_newest(folder)
        if state is None or self.mark not in state:
            raise TrainingError(f"{folder} holds no state of a {self.what} that can be read: leave out --resume")
        self._check(state)
        try:
            self.model.load_state_dict(state["model"])
        except RuntimeError:
            raise TrainingError("the state is of a model of another shape: resume with the recipe.yaml beside it") from None
        for name, value in state["average"].items():
            self.average.weights[name].copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        self.say(f"resumed at step {self.step}")

    def _check(self, state: dict[str, Any]) -> None:
        """Raise TrainingError where a state is of other data than these."""
