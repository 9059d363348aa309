"""Fit the codebooks of a codec to what its encoder gives, so that its codes together end nearer; no network learns.

    python -m toneme.recipes.refit toneme_24k init=runs/mine/codec data.train=FOLDER -o runs/refitted

In training a codebook follows the mean of what the codebooks before it left, while the encoder still moves. Here codes are
chosen by a beam (`beam_encode`), and each code moves against what all codes in use leave together, as the codebooks of additive
quantization do, by one over the number of vectors that chose it so far. Tokens get another meaning.

Sources: Babenko and Lempitsky, "Additive Quantization for Extreme Vector Compression", 2014, section 3 (codebooks learned
together, and the beam); Robbins and Monro, "A Stochastic Approximation Method", 1951, and MacQueen, "Some Methods for
Classification and Analysis of Multivariate Observations", 1967 (the rate).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..codecs.base import Codec
from ..kernels.beam import beam_encode
from ..quantizers.base import sample_depths, to_rows
from ..quantizers.residual import ResidualVQ
from ..quantizers.together import shared_targets, vectors_of
from .data.items import Items
from .errors import DataError, RecipeError
from .heard import items_for
from .models import Trainee, initial_codec
from .program import check_codec_folder, recipe_parser, run_program
from .recipe import Recipe, read_recipe

FULL = 0.7  # share of batches that use all codebooks; the others use 1 to all, evenly
PRIOR = 40.0  # vectors that a code counts as having seen before the first
WIDTH = 8  # of the beam


class Refit:
    """Codebooks [depth, size, dim] that move with every batch of vectors.

    Args:
        codebooks: moved in place.
        prior: vectors that each code counts as having seen.
        width: of the beam that chooses.
        private: last numbers of a vector that the first codebook alone codes.
    """

    def __init__(self, codebooks: Tensor, prior: float = PRIOR, width: int = WIDTH, private: int = 0) -> None:
        self.codebooks, self.width, self.own = codebooks, width, codebooks.shape[2] - private
        self.seen = torch.full_like(codebooks[..., 0], prior)

    @torch.no_grad()
    def update(self, rows: Tensor, depth: int) -> None:
        """Move the first `depth` codebooks towards rows [N, dim]: down the gradient of what the beam makes small."""
        codes = beam_encode(rows, self.codebooks[:depth], self.width)
        chosen = vectors_of(codes, self.codebooks[:depth])
        steps = shared_targets(rows, chosen, torch.ones_like(codes.T, dtype=torch.bool)) - chosen
        steps[1:, :, self.own :] = 0
        for stage in range(depth):
            self._move(stage, codes[:, stage], steps[stage])

    def _move(self, stage: int, codes: Tensor, steps: Tensor) -> None:
        book, seen = self.codebooks[stage], self.seen[stage]
        seen += torch.bincount(codes, minlength=len(seen)).to(seen.dtype)
        book += torch.zeros_like(book).index_add_(0, codes, steps) / seen[:, None]


def refit(recipe: Recipe, vectors: int) -> Codec:
    """Return the codec that a recipe's `init` names with its codebooks moved over that many vectors of the recipe's data.

    Raises:
        RecipeError: if there is no `init`, its codec has no residual codebooks, or no vector is asked for.
        DataError: if nothing can be read.
    """
    check_vectors(vectors)
    codec = _codec(recipe)
    refit_codebooks(codec, items_for(recipe, codec), recipe, vectors)
    return codec


def check_vectors(vectors: int) -> None:
    """Raise RecipeError if codebooks are to move by no vector."""
    if vectors < 1:
        raise RecipeError(f"codebooks move by one vector at least; got --vectors {vectors}")


def refit_codebooks(codec: Codec, items: Items, recipe: Recipe, vectors: int) -> None:
    """Move a codec's residual codebooks over that many vectors of the items, in batches of the recipe's size.

    Raises:
        DataError: if nothing can be read.
    """
    quantizer: Any = codec.get_submodule("quantizer")
    torch.manual_seed(recipe.seed)
    fit, done = Refit(quantizer.codebooks, private=quantizer.private), 0
    for rows in latent_rows(Trainee(codec), items, recipe.batch):
        fit.update(rows, int(sample_depths(1, len(fit.codebooks), FULL)))
        done += len(rows)
        if done >= vectors:
            break


def _codec(recipe: Recipe) -> Codec:
    if not recipe.init:
        raise RecipeError("there is nothing to refit: name a codec, as init=runs/mine/codec")
    codec = initial_codec(recipe.init, recipe.codec.name).eval()
    if not isinstance(getattr(codec, "quantizer", None), ResidualVQ):
        raise RecipeError(f"{codec.name} has no residual codebooks to refit: take one as toneme's or EnCodec's")
    return codec


def latent_rows(model: Trainee, items: Items, size: int) -> Iterator[Tensor]:
    """Latents [vectors, dim] of one batch of items after another, without end."""
    first = 0
    while True:
        found = [items[number] for number in range(first, first + size)]
        waveforms = [item.waveform for item in found if item.waveform is not None]
        if len(waveforms) < size:
            reason = next(reason for item in found for reason in item.failures.values())
            raise DataError(f"recording after recording cannot be read, the first because {reason}: check data.train")
        with torch.no_grad():
            latents = model.encode(torch.stack(waveforms))
        yield to_rows(latents, latents.shape[1])
        first += size


def main(given: Sequence[str] | None = None) -> None:
    """Refit from the command line."""
    parser = recipe_parser(__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--vectors", type=int, default=250_000, help="latents to go over, 50 of them a second for toneme")
    told = parser.parse_intermixed_args(given)
    check_codec_folder(told.output)
    refit(read_recipe(told.recipe, told.settings), told.vectors).save(told.output)


if __name__ == "__main__":
    run_program(main)
