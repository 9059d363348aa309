"""Residual codes by a beam: several choices are kept at every stage, and of those the one that ends nearest is taken.

The nearest code of a stage need not be the one that leaves least to the stages after it, so that choosing stage by stage
(`rvq_encode`) ends farther from the vector than need be. Sources: Babenko and Lempitsky, "Additive Quantization for Extreme
Vector Compression", 2014, section 3.2 (beam search); Liu et al., "Improved Residual Vector Quantization for High-dimensional
Approximate Nearest Neighbor Search", 2015 (several paths through residual codebooks).
"""

import torch
from torch import Tensor

from .nearest import half_norms, rvq_encode

SHORTER = 0.25  # weight of what fewer codebooks leave: with 0 all come nearer still, and one or two end farther than without
SPARE = 2  # candidates for each place in the beam: they are found in 32 bits, and the places given out in 64
SCORES, VECTORS = 1 << 20, 1 << 20  # elements that are in memory at once, of those of a processor in its cache
ON_GPU = 64  # times as many, since each call costs as much as a million of them


def beam_encode(x: Tensor, codebooks: Tensor, width: int, half: Tensor | None = None) -> Tensor:
    """Return residual codes int64 [N, Q] of rows x [N, D] under codebooks [Q, K, D].

    Each stage keeps the `width` choices of least score: the squared error after it, and a quarter of those after the stages
    before it, so that the first codebooks alone stay good. Ties go to the choice before, then to the lowest index. What
    `rvq_encode` chooses is taken where its score is less, so no row's is ever greater than that.

    Args:
        x, codebooks: of any floating type; errors are formed in 64 bits.
        width: choices that are kept, from 1 up.
        half: half the squared norms of the codes [Q, K], where they are there already.
    """
    half = half_norms(codebooks) if half is None else half
    plain = rvq_encode(x, codebooks, half)
    if width == 1 or not len(x):
        return plain
    x, books, (K, D) = x.double(), codebooks.double(), codebooks.shape[1:]
    room = ON_GPU if x.is_cuda else 1
    rows = max(1, min(SCORES * room // (width * K), VECTORS * room // (SPARE * width * D)))
    stages = [(book, _table(book.float(), norms.float())) for book, norms in zip(books, half, strict=True)]
    found = torch.cat([_search(part, stages, width) for part in x.split(rows)])
    return torch.where((score(x, books, plain) < score(x, books, found))[:, None], plain, found)


def score(x: Tensor, codebooks: Tensor, codes: Tensor) -> Tensor:
    """Return what `beam_encode` makes small, float64 [N], of codes [N, Q]."""
    left, total = x.double(), torch.zeros(len(x), dtype=torch.float64, device=x.device)
    for stage, book in enumerate(codebooks.double()):
        left = left - book[codes[:, stage]]
        total = total + left.square().sum(1) * (1 if stage == len(codebooks) - 1 else SHORTER)
    return total


def _table(book: Tensor, norms: Tensor) -> Tensor:
    """[D + 2, K] whose product with (residual, half of its score so far, 1) is half of each code's score."""
    return torch.cat([-book, torch.ones_like(norms)[:, None], norms[:, None]], dim=1).T  # sums are passes over memory


def _search(x: Tensor, stages: list[tuple[Tensor, Tensor]], width: int) -> Tensor:
    """Codes [n, Q] of the best choice; residuals [n, choices, D], and what the stages before cost [n, choices]."""
    left, past, paths = x[:, None], x.new_zeros(len(x), 1), torch.zeros(len(x), 1, 0, dtype=torch.int64, device=x.device)
    for book, table in stages:
        parent, code = _candidates(left, past, table, SPARE * width)
        rest = _rows(left, parent) - book[code]
        error, before = rest.square().sum(2), past.gather(1, parent)
        best = (before + error).argsort(dim=1, stable=True)[:, :width]
        left, past = _rows(rest, best), (before + SHORTER * error).gather(1, best)
        paths = torch.cat([_rows(paths, parent.gather(1, best)), code.gather(1, best)[..., None]], dim=2)
    return paths[:, 0]


def _candidates(left: Tensor, past: Tensor, table: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """Return which choice and which code [n, number] score least, in the order of choices and codes.

    The least of all lie under the codes whose own least is least, so that few need to be sorted.
    """
    so_far = (past + left.square().sum(2)).float() / 2
    ones = torch.ones_like(so_far)
    scores = torch.cat([left.float(), so_far[..., None], ones[..., None]], dim=2) @ table
    size = table.shape[1]
    codes = scores.amin(1).topk(min(number, size), dim=1, largest=False).indices
    few = scores.gather(2, codes[:, None].expand(-1, scores.shape[1], -1)).flatten(1)
    place = few.topk(min(number, few.shape[1]), dim=1, largest=False).indices
    parent, code = place // codes.shape[1], codes.gather(1, place % codes.shape[1])
    order = (parent * size + code).argsort(dim=1)
    return parent.gather(1, order), code.gather(1, order)


def _rows(values: Tensor, which: Tensor) -> Tensor:
    """Return values [n, choices, D] at [n, m] of the choices."""
    return values.gather(1, which[..., None].expand(-1, -1, values.shape[2]))
