"""Decode a recipe's audio once, so that training elsewhere begins at once.

    python -m toneme.recipes.prepare toneme_24k data.train=audio data.cache=cache

Writes the bank that a run with `data.bank=true` and the same `data.train` and `data.cache` reads. It goes by the paths of the
recordings as `data.train` names them: relative ones let another machine use it.
"""

import argparse
import sys
from collections.abc import Sequence

from .data.items import make_items
from .models import build_codec
from .program import run_program
from .recipe import read_recipe


def prepare(name: str, settings: Sequence[str]) -> tuple[int, float]:
    """Build the bank of a recipe; return how many recordings it holds, and their hours.

    Raises:
        RecipeError: if the recipe is not understood.
        DataError: if nothing can be read.
    """
    recipe = read_recipe(name, [*settings, "data.bank=true"])
    spec = build_codec(recipe.codec, name).spec
    items = make_items(recipe.data, spec.sample_rate, spec.channels, recipe.seconds, recipe.seed, _say)
    return len(items.recordings), sum(map(items.length, range(len(items.recordings)))) / 3600


def main() -> None:
    """Prepare from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE")
    given = parser.parse_args()
    recordings, hours = prepare(given.recipe, given.settings)
    print(f"{recordings} recordings, {hours:.2f} hours")


def _say(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    run_program(main)
