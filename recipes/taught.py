"""Let the first codebook of a toneme codec say what a teacher says; no network learns.

    python -m toneme.recipes.taught toneme_24k init=runs/mine/codec data.train=manifest.csv -o runs/taught \\
        "distil.speech={teacher: runs/teacher/model, layer: -2, delay: 0.08, domains: [speech]}"

What a teacher says of a frame can be guessed, in part, from the encoder's last layer. The guess (ridge regression, its main
directions) becomes a few numbers more of the latents, which the first codebook alone codes, beside all the others.
`strength` is the guess' variance over that of the others: the more, the more is told of the teacher, and the less of sound.
The decoder hears the guess as well, and is to be trained afterwards, alone (`learns=[decoder]`) or all of it with the lesson.

Source: in Mimi the first codebook has a projection of its own (Défossez et al., "Moshi", 2024, section 3.3.2); here it goes on
coding sound.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..codecs.toneme24k import TonemeCodec
from ..kernels import nearest_code
from ..kernels.statistics import code_statistics
from ..quantizers.kmeans import kmeans
from .data.items import Items
from .errors import RecipeError
from .heard import drawn, heard_lesson, items_for, said_of
from .models import Trainee, initial_codec
from .program import check_codec_folder, recipe_parser, run_program
from .recipe import Recipe, read_recipe
from .refit import check_vectors, latent_rows, refit_codebooks
from .teaching import Lesson, speech_model

DIMENSION, STRENGTH = 16, 0.5
RIDGE = 1e-3  # of the variance of what is regressed on
ROUNDS = 8  # of k-means
PER_CODE = 150  # vectors


class Regression:
    """A linear guess of features from inputs, by sums alone.

    Args:
        inputs: numbers of an input.
        features: numbers of a feature.
    """

    def __init__(self, inputs: int, features: int) -> None:
        self.count = 0
        self.moments = torch.zeros(inputs + features, inputs + features, dtype=torch.float64)
        self.sums = torch.zeros(inputs + features, dtype=torch.float64)
        self.inputs = inputs

    def add(self, inputs: Tensor, features: Tensor) -> None:
        """Learn of inputs [frames, inputs] and features [frames, features], as far as both go."""
        both = min(len(inputs), len(features))
        rows = torch.cat([inputs[:both], features[:both]], dim=1).double()
        self.count += both
        self.sums += rows.sum(0)
        self.moments += rows.T @ rows

    def directions(self, number: int) -> tuple[Tensor, Tensor]:
        """Return weight [number, inputs] and bias [number]: the main directions of the guess of features of variance one.

        The guess has mean zero in each direction.
        """
        mean = self.sums / self.count
        covariance = self.moments / self.count - torch.outer(mean, mean)
        own, cross = covariance[: self.inputs, : self.inputs], covariance[: self.inputs, self.inputs :]
        spread = covariance.diagonal()[self.inputs :].clamp(min=1e-12).sqrt()
        ridge = RIDGE * own.diagonal().mean() * torch.eye(self.inputs, dtype=own.dtype)
        weight = torch.linalg.solve(own + ridge, cross / spread)  # [inputs, features]
        main = torch.linalg.eigh(weight.T @ own @ weight)[1].flip(1)[:, :number]
        weight = (weight @ main).T
        return weight.float(), -(weight @ mean[: self.inputs]).float()


@torch.no_grad()
def teach_first(recipe: Recipe, name: str, dimension: int, strength: float, recordings: int, vectors: int) -> TonemeCodec:
    """Return the codec of a recipe's `init` with `dimension` numbers more in its latents, and codebooks for these.

    Args:
        recipe: with the codec, `data`, and the lesson in `distil`.
        name: of the lesson.
        dimension: numbers for what the teacher says.
        strength: their variance over that of the other numbers.
        recordings: that the teacher hears at most.
        vectors: that codebooks are fitted to.

    Raises:
        RecipeError: if the codec is no plain one of the toneme family, there is no such lesson, or a number is out of range.
        DataError: if there are too few recordings.
    """
    lesson = heard_lesson(recipe, name)
    check_vectors(vectors)
    codec = _codec(recipe)
    if not (dimension > 0 and strength > 0):
        raise RecipeError(f"dimension and strength must be above 0; got {dimension} and {strength}")
    model = speech_model(lesson, codec, "cpu")
    if dimension > model.dimension:
        raise RecipeError(f"the teacher's features have {model.dimension} numbers; got --dimension {dimension}")
    items, regression = items_for(recipe, codec), Regression(codec.config.encoder_dim, model.dimension)
    for inputs, features in _pairs(codec, model, lesson, drawn(items, lesson, name, recordings)):
        regression.add(inputs, features)
    weight, bias = regression.directions(dimension)
    wide = _widened(codec, weight, bias)
    _fit_first(wide, items, recipe, strength)
    refit_codebooks(wide, items, recipe, vectors)
    return wide


def _codec(recipe: Recipe) -> TonemeCodec:
    codec = initial_codec(recipe.init, recipe.codec.name).eval()
    if not isinstance(codec, TonemeCodec) or codec.config.taught_dim:
        raise RecipeError(
            f"{codec.name} is no codec of the toneme family, or has numbers for a teacher: name another with init"
        )
    return codec


def _pairs(codec: TonemeCodec, model: Any, lesson: Lesson, waveforms: Iterator[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs of the encoder's last layer [frames, encoder_dim], and the features of these frames."""
    seen: list[Tensor] = []
    hook = codec.encoder.norm.register_forward_hook(lambda module, given, out: seen.append(torch.as_tensor(out)))
    early, late = codec.config.lookahead // codec.config.hop, round(lesson.delay * codec.spec.frame_rate)
    for waveform in waveforms:
        frames = codec.encoder(waveform).shape[1]
        yield seen.pop()[0, early:], said_of(model, waveform, codec.spec.sample_rate, frames)[late:]
    hook.remove()


def _widened(codec: TonemeCodec, weight: Tensor, bias: Tensor) -> TonemeCodec:
    """A codec whose latents end in what `weight` and `bias` make of the encoder's last layer; nothing else hears of it yet."""
    config = dataclasses.replace(codec.config, taught_dim=len(weight), semantic=1)
    wide, state = TonemeCodec(config, codec.name).eval(), codec.state_dict()
    state["encoder.leave.weight"] = torch.cat([state["encoder.leave.weight"], weight])
    state["encoder.leave.bias"] = torch.cat([state["encoder.leave.bias"], bias])
    for key in ("decoder.enter.weight", "quantizer.codebooks"):
        state[key] = torch.nn.functional.pad(state[key], (0, len(weight)))
    wide.load_state_dict(state)
    return wide


def _fit_first(codec: TonemeCodec, items: Items, recipe: Recipe, strength: float) -> None:
    """Give the numbers for the teacher their variance, and the first codebook what they are in its codes, by k-means."""
    own, wanted, found = codec.config.latent_dim, PER_CODE * codec.config.codebook_size, []
    for rows in latent_rows(Trainee(codec), items, recipe.batch):
        found.append(rows)
        if sum(map(len, found)) >= wanted:
            break
    rows = torch.cat(found)
    spread = rows.var(0)
    scale = (strength * spread[:own].sum() / spread[own:].sum()).sqrt()
    for parameter in (codec.encoder.leave.weight, codec.encoder.leave.bias):
        parameter[own:] *= scale
    rows[:, own:] *= scale
    book = codec.quantizer.codebooks[0]
    codes = nearest_code(rows[:, :own].contiguous(), book[:, :own].contiguous())
    statistics = code_statistics(codes, rows, len(book))
    means = statistics.float_sums(rows.dtype) / statistics.counts.clamp(min=1)[:, None]
    book.copy_(kmeans(rows, len(book), ROUNDS, start=means)[0])


def main(given: Sequence[str] | None = None) -> None:
    """Teach from the command line."""
    parser = recipe_parser(__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--lesson", help="name of the entry of distil, where there are several")
    parser.add_argument("--dimension", type=int, default=DIMENSION, help="numbers for what the teacher says")
    parser.add_argument("--strength", type=float, default=STRENGTH, help="their variance over that of the other numbers")
    parser.add_argument("--recordings", type=int, default=1000, help="that the teacher hears at most")
    parser.add_argument("--vectors", type=int, default=250_000, help="latents that the codebooks are fitted to")
    told = parser.parse_intermixed_args(given)
    check_codec_folder(told.output)
    recipe = read_recipe(told.recipe, told.settings)
    name = told.lesson or next(iter(recipe.distil), "")
    teach_first(recipe, name, told.dimension, told.strength, told.recordings, told.vectors).save(told.output)


if __name__ == "__main__":
    run_program(main)
