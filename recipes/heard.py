"""Whole recordings of a recipe's data, and what the teacher of one of its lessons says of them."""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..codecs.base import Codec
from .data.items import Items, make_items
from .domains import Domains
from .errors import DataError, RecipeError
from .recipe import Recipe
from .teaching import TEXT, Lesson, fit_frames

APART = 5  # every so many-th recording is not learned from
SHORTEST, MOST_SECONDS = 0.5, 30.0  # that are heard of a recording


def heard_lesson(recipe: Recipe, name: str) -> Lesson:
    """Return one of a recipe's lessons.

    Raises:
        RecipeError: if the recipe names no codec in `init` or has no such lesson, or its teacher reads.
    """
    if not recipe.init:
        raise RecipeError("there is no codec to ask: name one, as init=runs/mine/codec")
    if name not in recipe.distil:
        have = ", ".join(recipe.distil) or "none"
        raise RecipeError(f"the recipe has no lesson {name!r}, but {have}: give one in distil, or choose by --lesson")
    lesson = Lesson.read(name, recipe.distil[name])
    if lesson.teacher.startswith(TEXT):
        raise RecipeError(f"distil.{name} has a teacher that reads, and is not late: choose one that hears by --lesson")
    return lesson


def items_for(recipe: Recipe, codec: Codec) -> Items:
    """Return a recipe's items as a codec hears them."""
    spec = codec.spec
    return make_items(recipe.data, spec.sample_rate, spec.channels, recipe.seconds, recipe.seed, say)


def drawn(items: Items, lesson: Lesson, name: str, most: int) -> Iterator[Tensor]:
    """Waveforms [channels, samples] of recordings of the lesson's domains, as many at most, in an order that the seed sets.

    Raises:
        DataError: if there are fewer than `APART`.
    """
    domains = Domains(f"distil.{name}", lesson.domains)
    known = [recording.domain for recording in items.recordings]
    domains.check(known)
    among = [number for number in domains.among(known) if items.length(number) >= SHORTEST]
    if min(most, len(among)) < APART:
        raise DataError(f"{APART} recordings of {SHORTEST} s or more are needed; {len(among)} are there, {most} are asked for")
    for number in np.random.default_rng(items.seed).permutation(among)[:most]:
        yield torch.from_numpy(items.read(int(number), 0.0, min(MOST_SECONDS, items.length(int(number)))))


@torch.no_grad()
def said_of(model: Any, waveform: Tensor, sample_rate: int, frames: int) -> Tensor:
    """Return a teacher's features [frames, dim] of a waveform [channels, samples], at the rate that gives so many frames."""
    return fit_frames(model(waveform.mean(0, keepdim=True), sample_rate).float(), frames)[0]


def say(line: str) -> None:
    """Say a line where it does not mix with what a program gives."""
    print(line, file=sys.stderr)
