"""The CPU's search of no more rows than a chunk has, as of a stream: doubt is settled stage by stage, with the scores at hand.

The functions are written for `unlocked`: of few rows the products cost less than the interpreter's calls between them.
"""

import math

import torch
from torch import Tensor

from .rescan import rescore
from .unlocked import Unlocked
from .workspace import Buffers, left_over, search


def settle(
    x: Tensor, codebook: Tensor, half_norms: Tensor, bound: Tensor, tops: tuple[Tensor, Tensor, Tensor], code: Tensor
) -> None:
    """Put codes [N] right, in place, where the greatest score does not lead the next by `bound` [N].

    Args:
        tops: the scores [N, K], of which that of `code` may be overwritten, and each row's greatest and next greatest.
    """
    scores, best, second = tops
    sure = best - second > bound
    if not bool(sure.all()):
        rows = sure.logical_not_().nonzero()[:, 0]
        near = (scores[rows] < (best - bound)[rows].unsqueeze(1)).logical_not_()
        near.scatter_(1, code[rows].unsqueeze(1), True)
        code[rows] = rescore(x[rows], codebook, half_norms, near)


def settled_stages(x: Tensor, books: tuple[Tensor, Tensor], bounds: tuple[Tensor, Tensor], b: Buffers, codes: Tensor) -> None:
    """Write codes [Q, rows] of x [rows, D].

    Args:
        books: codebooks [Q, K, D] and half norms [Q, K].
        bounds: a slope and an offset [Q, 1] of twice the error of a score (`rescan.error_factors`).
        b: of one stage.
    """
    codebooks, half_norms = books
    slopes, offsets = bounds
    bias, residual = -half_norms, x
    for stage in range(codebooks.size(0)):
        codebook, code = codebooks[stage], codes[stage]
        search(residual, codebook, bias[stage], 0, b, code)
        bound = torch.addcmul(offsets[stage], b.norm[0], slopes[stage])
        settle(residual, codebook, half_norms[stage], bound, (b.scores, b.best[0], b.second[0]), code)
        if stage + 1 < codebooks.size(0):
            residual = left_over(residual, codebook, code, b.chosen, b.residual)


def few_stages(x: Tensor, books: tuple[Tensor, Tensor], bounds: tuple[Tensor, Tensor], codes: Tensor) -> None:
    """As `settled_stages` for so few rows that a sort of whole rows costs less than the calls of the two levels."""
    codebooks, half_norms = books
    slopes, offsets = bounds
    for stage in range(codebooks.size(0)):
        codebook, code = codebooks[stage], codes[stage]
        scores = torch.addmm(half_norms[stage], x, codebook.t(), beta=-1.0)
        top, places = scores.topk(min(2, scores.size(1)), 1)
        code.copy_(places[:, 0])
        second = top[:, 1] if top.size(1) > 1 else torch.full_like(top[:, 0], -math.inf)
        bound = torch.addcmul(offsets[stage], torch.linalg.vector_norm(x, 2.0, [1]), slopes[stage])
        settle(x, codebook, half_norms[stage], bound, (scores, top[:, 0], second), code)
        x = x - codebook.index_select(0, code)


encode_settled, encode_few = Unlocked(settled_stages), Unlocked(few_stages)
