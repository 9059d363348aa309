"""How much of a teacher's features the first code of a frame tells, and how late they are.

    python -m toneme.recipes.told toneme_24k init=runs/mine/codec data.train=manifest.csv \\
        "distil.speech={teacher: runs/teacher/model, layer: -2}"

Each code's mean feature is learned from most of the recordings; told is the share of the features' variance that these means
explain in the others (the coefficient of determination, mean over dimensions), 0 for codes that know nothing. A teacher with
causal layers, or one that learned by CTC, speaks late: the delay at which most is told is what `distil.NAME.delay` should be.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ..codecs.base import Codec
from .errors import DataError
from .heard import APART, drawn, heard_lesson, items_for, said_of
from .models import initial_codec
from .program import recipe_parser, run_program
from .recipe import Recipe, read_recipe
from .teaching import speech_model

LONGEST = 0.24  # seconds of delay that are tried
PRIOR = 2.0  # frames at the mean of all that a code counts as having seen


class Tally:
    """Features of each code: how many frames, their sums, and the sum of all squares.

    Args:
        size: codes of the codebook.
        dimension: of a feature.
    """

    def __init__(self, size: int, dimension: int) -> None:
        self.frames = torch.zeros(size, dtype=torch.float64)
        self.sums = torch.zeros(size, dimension, dtype=torch.float64)
        self.squares = torch.zeros(dimension, dtype=torch.float64)

    def add(self, codes: Tensor, features: Tensor) -> None:
        """Count codes [frames] and their features [frames, dim], as far as both go."""
        both = min(len(codes), len(features))
        codes, features = codes[:both], features[:both].double()
        self.frames += torch.bincount(codes, minlength=len(self.frames))
        self.sums.index_add_(0, codes, features)
        self.squares += features.square().sum(0)

    def told_of(self, others: "Tally") -> float:
        """Return the share of the variance of others' features that the means of these codes explain, mean over dimensions.

        Raises:
            DataError: if the others have fewer than two frames, or all of them are alike.
        """
        mean = self.sums.sum(0) / self.frames.sum().clamp(min=1)
        means = (self.sums + PRIOR * mean) / (self.frames[:, None] + PRIOR)
        count = others.frames.sum()
        about_means = others.squares - 2 * (means * others.sums).sum(0) + (others.frames[:, None] * means.square()).sum(0)
        about_mean = others.squares - others.sums.sum(0).square() / count
        varying = about_mean > 1e-9 * others.squares
        if count < 2 or not varying.any():
            raise DataError("the teacher's features do not vary over the recordings kept apart: give longer or more recordings")
        return (1 - about_means[varying] / about_mean[varying]).mean().item()


def told(recipe: Recipe, name: str, recordings: int) -> dict[float, float]:
    """Return, for each delay in seconds, the share of a lesson's features that the first code tells.

    Args:
        recipe: with the codec in `init`, `data`, and the lesson in `distil`.
        name: of the lesson.
        recordings: that are heard at most, drawn by the recipe's seed.

    Raises:
        RecipeError: if there is no codec or no such lesson, or its teacher does not hear.
        DataError: if there are too few recordings.
    """
    lesson = heard_lesson(recipe, name)
    codec = initial_codec(recipe.init, recipe.codec.name).eval()
    model, (rate, size) = speech_model(lesson, codec, "cpu"), (codec.spec.frame_rates[0], codec.spec.codebook_sizes[0])
    items, delays = items_for(recipe, codec), range(round(LONGEST * rate) + 1)
    learned, apart = ([Tally(size, model.dimension) for _ in delays] for _ in range(2))
    for place, (codes, features) in enumerate(_heard(codec, model, drawn(items, lesson, name, recordings))):
        for delay in delays:
            (apart if place % APART == APART - 1 else learned)[delay].add(codes, features[delay:])
    return {delay / rate: learned[delay].told_of(apart[delay]) for delay in delays}


@torch.no_grad()
def _heard(codec: Codec, model: Any, waveforms: Iterator[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """First codes [frames] and features [frames, dim] of each."""
    for waveform in waveforms:
        codes = codec.encode(waveform[None]).streams[0][0, 0]
        yield codes, said_of(model, waveform, codec.spec.sample_rate, len(codes))


def main(given: Sequence[str] | None = None) -> None:
    """Print a table of delays."""
    parser = recipe_parser(__doc__)
    parser.add_argument("--lesson", help="name of the entry of distil, where there are several")
    parser.add_argument("--recordings", type=int, default=500, help="to hear at most")
    asked = parser.parse_intermixed_args(given)
    recipe = read_recipe(asked.recipe, asked.settings)
    found = told(recipe, asked.lesson or next(iter(recipe.distil), ""), asked.recordings)
    print("delay, s  told, %")
    for delay, share in found.items():
        print(f"{delay:8.3f}  {100 * share:7.1f}")
    best = max(found, key=lambda delay: found[delay])
    print(f"most at {best:g} s: delay: {best:g}")


if __name__ == "__main__":
    run_program(main)
