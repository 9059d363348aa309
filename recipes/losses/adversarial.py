"""What generator and discriminator minimise, given a discriminator's judgements: lists of (score, [feature maps]).

Sources: least squares as Mao et al., "Least Squares Generative Adversarial Networks", 2017; hinge and relative feature
matching as Défossez et al., "High Fidelity Neural Audio Compression", 2022, section 3.4; plain feature matching as Kumar
et al., "High-Fidelity Audio Compression with Improved RVQGAN", 2023.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..errors import RecipeError

Judgements = Sequence[tuple[Tensor, list[Tensor]]]

_REAL: dict[str, Callable[[Tensor], Tensor]] = {
    "hinge": lambda score: (1 - score).relu().mean(),
    "least_squares": lambda score: (1 - score).square().mean(),
}
_FAKE: dict[str, Callable[[Tensor], Tensor]] = {
    "hinge": lambda score: (1 + score).relu().mean(),
    "least_squares": lambda score: score.square().mean(),
}
_FOOLED = {**_REAL, "hinge_linear": lambda score: -score.mean()}
FEATURES = ("relative", "plain", "mean")


def generator_loss(fake: Judgements, kind: str = "hinge", reduce: str = "mean") -> Tensor:
    """Return how far fakes are from being taken for real.

    Args:
        fake: judgements of the generator's output.
        kind: `hinge`, max(0, 1 - score), as EnCodec's and Vocos' papers; `hinge_linear`, -score, as audiocraft;
            `least_squares`, (1 - score)².
        reduce: over discriminators, `mean` (EnCodec, X-Codec) or `sum` (HiFi-GAN, DAC, BigCodec). Vocos' code takes the mean
            of each of its two kinds of discriminator, and adds these.

    Raises:
        RecipeError: if `kind` or `reduce` is none of these.
    """
    return _reduce([_pick(_FOOLED, kind)(score.float()) for score, _ in fake], reduce)


def discriminator_loss(real: Judgements, fake: Judgements, kind: str = "hinge", reduce: str = "mean") -> Tensor:
    """Return how badly real and fake are told apart; `kind` is `hinge` or `least_squares`, `hinge_linear` counts as `hinge`.

    Raises:
        RecipeError: if `kind` or `reduce` is none of these.
    """
    kind = kind.removesuffix("_linear")
    on_real, on_fake = _pick(_REAL, kind), _pick(_FAKE, kind)
    terms = [on_real(r.float()) + on_fake(f.float()) for (r, _), (f, _) in zip(real, fake, strict=True)]
    return _reduce(terms, reduce)


def feature_matching(real: Judgements, fake: Judgements, kind: str = "relative") -> Tensor:
    """Return the mean absolute difference of feature maps, real ones held fixed.

    Args:
        real: judgements of the target.
        fake: judgements of the generator's output.
        kind: `relative`, each map's difference divided by the real map's mean magnitude, then the mean over all maps
            (EnCodec's paper); `plain`, the sum over all maps (DAC, BigCodec; HiFi-GAN takes twice that, and Vocos for each
            kind of discriminator the mean of its parts' sums);
            `mean`, the mean over all maps (X-Codec, audiocraft).

    Raises:
        RecipeError: if `kind` is none of these.
    """
    if kind not in FEATURES:
        raise RecipeError(f"there is no feature matching {kind!r}: use one of {', '.join(FEATURES)}")
    terms = []
    for (_, theirs), (_, ours) in zip(real, fake, strict=True):
        for target, estimate in zip(theirs, ours, strict=True):
            target = target.detach().float()
            difference = (estimate.float() - target).abs().mean()
            terms.append(difference / target.abs().mean().clamp(min=1e-8) if kind == "relative" else difference)
    return _reduce(terms, "sum" if kind == "plain" else "mean")


def _pick(table: dict[str, Callable[[Tensor], Tensor]], kind: str) -> Callable[[Tensor], Tensor]:
    if kind not in table:
        raise RecipeError(f"there is no adversarial loss {kind!r}: use one of {', '.join(table)}")
    return table[kind]


def _reduce(terms: list[Tensor], reduce: str) -> Tensor:
    if reduce not in ("mean", "sum"):
        raise RecipeError(f"losses of discriminators are joined by mean or sum; got {reduce!r}")
    total = torch.stack(terms).sum()
    return total / len(terms) if reduce == "mean" else total
