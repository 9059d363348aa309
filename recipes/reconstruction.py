"""The losses that compare what came out with what went in, by the names that a recipe gives them."""

import inspect
from collections.abc import Collection, Sequence
from typing import Any

from torch import Tensor, nn

from .domains import Domains
from .errors import RecipeError
from .losses import LOSSES, build_loss
from .recipe import Entries


class Reconstruction(nn.Module):
    """Losses on waveforms.

    Args:
        table: name -> `weight`, `name` of the loss where it is another, `domains` of the items that it counts for where these
            are not all, and its settings.
        sample_rate: Hz, for those losses that ask for it.

    Raises:
        RecipeError: if there is no such loss, or it has no such setting.
    """

    def __init__(self, table: Entries, sample_rate: int) -> None:
        super().__init__()
        self.weights = {name: float(entry.get("weight", 1.0)) for name, entry in table.items()}
        told = {name: entry["domains"] for name, entry in table.items() if "domains" in entry}
        self.domains = {name: Domains(f"losses.{name}", domains) for name, domains in told.items()}
        self.losses = nn.ModuleDict({name: _build(name, entry, sample_rate) for name, entry in table.items()})

    def forward(self, estimate: Tensor, target: Tensor, domains: Sequence[str] = ()) -> dict[str, Tensor]:
        """Return each loss of waveforms [batch, channels, samples], not weighed; one of several terms counts as their sum.

        Where a loss is for some `domains` alone, whose names are told for each item, the others add nothing to its mean.
        """
        found = {}
        for name, loss in self.losses.items():
            ours, theirs, share = self._concerned(name, estimate, target, domains)
            value: Any = loss(ours, theirs) if share else estimate.new_zeros(()) + 0 * estimate.sum()
            found[name] = (sum(value.values()) if isinstance(value, dict) else value) * share
        return found

    def check_domains(self, known: Collection[str]) -> None:
        """Raise RecipeError where a loss is for none of the domains that the data have."""
        for domains in self.domains.values():
            domains.check(known)

    def _concerned(self, name: str, estimate: Tensor, target: Tensor, domains: Sequence[str]) -> tuple[Tensor, Tensor, float]:
        """Return the items that a loss counts for, and their share of all."""
        if name not in self.domains:
            return estimate, target, 1.0
        among = self.domains[name].among(domains)
        return estimate[among], target[among], len(among) / len(domains)


def _build(name: str, entry: dict[str, Any], sample_rate: int) -> nn.Module:
    settings = {key: value for key, value in entry.items() if key not in ("weight", "name", "domains")}
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
