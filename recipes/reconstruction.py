"""The losses that compare what came out with what went in, by the names that a recipe gives them."""

import inspect
from typing import Any

from torch import Tensor, nn

from .errors import RecipeError
from .losses import LOSSES, build_loss
from .recipe import Entries


class Reconstruction(nn.Module):
    """Losses on waveforms.

    Args:
        table: name -> `weight`, `name` of the loss where it is another, and its settings.
        sample_rate: Hz, for those losses that ask for it.
    """

    def __init__(self, table: Entries, sample_rate: int) -> None:
        super().__init__()
        self.weights = {name: float(entry.get("weight", 1.0)) for name, entry in table.items()}
        self.losses = nn.ModuleDict({name: _build(name, entry, sample_rate) for name, entry in table.items()})

    def forward(self, estimate: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return each loss of waveforms [batch, channels, samples], not weighed; one of several terms counts as their sum."""
        found = {}
        for name, loss in self.losses.items():
            value: Any = loss(estimate, target)
            found[name] = sum(value.values()) if isinstance(value, dict) else value
        return found


def _build(name: str, entry: dict[str, Any], sample_rate: int) -> nn.Module:
    settings = {key: value for key, value in entry.items() if key not in ("weight", "name")}
    kind = str(entry.get("name", name))
    if kind not in LOSSES:
        raise RecipeError(f"losses.{name}: there is no loss {kind!r}: use one of {', '.join(LOSSES)}")
    if "sample_rate" in inspect.signature(LOSSES[kind]).parameters:
        settings = {"sample_rate": sample_rate, **settings}
    loss = build_loss(kind, **settings)
    return _Flat(loss) if kind == "spectral" else loss


class _Flat(nn.Module):
    """A loss of waveforms [batch, samples]; channels count as items."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, estimate: Tensor, target: Tensor) -> dict[str, Tensor]:
        return self.loss(estimate.flatten(0, 1), target.flatten(0, 1))
