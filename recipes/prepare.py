"""Decode a recipe's audio once, so that training elsewhere begins at once.

    python -m toneme.recipes.prepare toneme_24k data.train=audio data.cache=cache

Writes the bank that a run with `data.bank=true` and the same `data.train` and `data.cache` reads. It goes by the paths of the
recordings as `data.train` names them: relative ones let another machine use it.
"""

from collections.abc import Sequence

from .heard import items_for
from .models import build_codec
from .program import recipe_parser, run_program
from .recipe import read_recipe


def prepare(name: str, settings: Sequence[str]) -> tuple[int, float]:
    """Build the bank of a recipe; return how many recordings it holds, and their hours.

    Raises:
        RecipeError: if the recipe is not understood.
        DataError: if nothing can be read.
    """
    recipe = read_recipe(name, [*settings, "data.bank=true"])
    items = items_for(recipe, build_codec(recipe.codec, name))
    return len(items.recordings), sum(map(items.length, range(len(items.recordings)))) / 3600


def main() -> None:
    """Prepare from the command line."""
    given = recipe_parser(__doc__).parse_args()
    recordings, hours = prepare(given.recipe, given.settings)
    print(f"{recordings} recordings, {hours:.2f} hours")


if __name__ == "__main__":
    run_program(main)
