"""The domains, as speech or music, for whose items alone a loss counts."""

from collections.abc import Collection, Sequence
from typing import Any

from .errors import RecipeError


class Domains:
    """Names of domains that a recipe gives to one of its losses.

    Args:
        place: in the recipe, as "losses.l1".
        told: what stands there under `domains`; none for all of them.

    Raises:
        RecipeError: if that is no list of names.
    """

    def __init__(self, place: str, told: Any = None) -> None:
        named = isinstance(told, list) and bool(told) and all(isinstance(domain, str) for domain in told)
        if not (named or told is None):
            raise RecipeError(f"{place}.domains must be names of domains, as [speech]; got {told!r}")
        self.place, self.names = place, None if told is None else frozenset(told)

    def among(self, domains: Sequence[str]) -> list[int]:
        """Return which items, of these domains, are concerned."""
        return [number for number, domain in enumerate(domains) if self.names is None or domain in self.names]

    def check(self, known: Collection[str]) -> None:
        """Raise RecipeError where none of the data's domains is among these."""
        if self.names is not None and not self.names & set(known):
            have = ", ".join(sorted(filter(None, known))) or "none named"
            raise RecipeError(f"{self.place}.domains are {', '.join(sorted(self.names))}, and those of the data are: {have}")
