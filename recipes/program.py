"""A program of this folder, run as `python -m toneme.recipes.NAME`: what stops it is one sentence, as it is with `codec`."""

import sys
from collections.abc import Callable

from ..codecs.errors import TonemeError


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
