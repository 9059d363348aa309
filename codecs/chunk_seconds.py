"""How long the chunks of a stream are where its maker asks for it. Needs neither torch nor numpy."""

import math
from numbers import Real
from typing import Any

from .errors import ShapeError

LONGEST = 1e9  # seconds: beyond any audio, and its samples are still a number


def chunk_units(seconds: float, sample_rate: int, unit: int) -> int:
    """Return how many units of so many samples are nearest to a chunk's length, one at least."""
    return max(1, round(seconds * sample_rate / unit))


def checked_seconds(chunk_seconds: Any) -> float:
    """Return the seconds that a chunk was asked to have, `LONGEST` at most.

    Raises:
        ShapeError: if that is no number above 0.
    """
    if isinstance(chunk_seconds, bool) or not isinstance(chunk_seconds, Real) or not 0 < float(chunk_seconds) < math.inf:
        raise ShapeError(f"chunk_seconds must be a number of seconds above 0, such as 0.5; got {chunk_seconds!r}")
    return min(float(chunk_seconds), LONGEST)


def seconds_or(chunk_seconds: float | None, default: float) -> float:
    """Return the seconds that a chunk was asked to have, a codec's own where nothing was asked for.

    Raises:
        ShapeError: if what was asked for is no number above 0.
    """
    return default if chunk_seconds is None else checked_seconds(chunk_seconds)


def check_fixed(name: str, chunk_seconds: float | None, seconds: float) -> None:
    """Raise ShapeError where chunks are asked for of a codec whose weights fix how much it works on at once."""
    if chunk_seconds is not None:
        checked_seconds(chunk_seconds)
        raise ShapeError(
            f"{name} works on {seconds:g} s of audio at once, as its weights were trained: leave chunk_seconds out"
        )
