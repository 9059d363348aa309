"""A program of this folder, run as `python -m toneme.recipes.NAME`: what stops it is one sentence, as it is with `codec`."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from ..codecs.errors import TonemeError
from .errors import RecipeError


def run_program(main: Callable[[], None]) -> None:
    """Run a program; where it fails, the process ends with a sentence and status 1, and with 130 where it is interrupted."""
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except TonemeError as error:
        sys.exit(" ".join(str(error).split()))
    except OSError as error:
        sys.exit(": ".join(str(part) for part in (error.filename, error.strerror or error) if part))


def recipe_parser(about: str | None) -> argparse.ArgumentParser:
    """Return a parser of a recipe and its settings, to which a program adds its own options."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE")
    return parser


def check_codec_folder(output: Path) -> None:
    """Raise RecipeError where a codec cannot be saved to `output` because that is a file."""
    if output.exists() and not output.is_dir():
        raise RecipeError(f"{output} is a file, and a codec is a folder: name another with -o")
