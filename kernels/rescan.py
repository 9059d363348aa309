"""Certificates, and the second look at the rows that lack one.

A fast pass certifies a row where the best score leads the next by more than twice the worst rounding error. The few other
rows are coded again: the codes within that error of the best are candidates, and 64 bits choose among them.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

ROUNDING = 2.0**-24
TIE = 2.0**-48  # relative to the scores: differences of 64-bit sums that are no more than their order
BATCH_BYTES = 1 << 21


def error_factors(codebooks: Tensor, half_norms: Tensor, scale: float | None = None) -> tuple[Tensor, Tensor]:
    """Two factors [Q, 1] such that twice the error of any score of x at a stage is under |x| factors[0] + factors[1].

    Args:
        codebooks: [Q, K, D]; they and x may be rounded once to 32 bits.
        half_norms: [Q, K], rounded likewise.
        scale: error of a product <x, c> per |x| |c|; by default that of a 32-bit sum of D terms in any order (Higham, "Accuracy
            and Stability of Numerical Algorithms", 2002, section 3.1).
    """
    scale = (codebooks.shape[2] + 8) * ROUNDING if scale is None else scale
    peak = half_norms.amax(1, keepdim=True)
    return 2 * scale * _longest(codebooks, half_norms, peak), 4 * scale * peak


def _longest(codebooks: Tensor, half_norms: Tensor, peak: Tensor) -> Tensor:
    """Greatest length [Q, 1] of a code; half norms that are all zero, of a cosine search, do not tell it."""
    if not half_norms.is_cuda and half_norms.any():
        return (2 * peak).sqrt()
    squares = codebooks.square().sum(2).amax(1, keepdim=True)
    return torch.where(half_norms.any(), 2 * peak, squares).sqrt()  # on a GPU both, since asking would wait for it


def rescan(x: Tensor, codebooks: Tensor, half_norms: Tensor, codes: Tensor, doubtful: Tensor) -> Tensor:
    """Replace codes [N, Q] of the doubtful rows [N] (bool) by those of 64 bits, in place; any device.

    Args:
        x: [N, D], float32.
        codebooks: [Q, K, D], float32.
        half_norms: [Q, K], |c|^2 / 2 to within 32-bit rounding; zero for a cosine search.
    """
    euclidean = half_norms.any().double()  # without asking: between its stages a GPU must not wait for us
    for part in doubtful.nonzero()[:, 0].split(max(1, BATCH_BYTES // (4 * codebooks.shape[1]))):
        residual = x[part]
        for stage, codebook in enumerate(codebooks.unbind(0)):
            code = exact_code(residual, codebook, euclidean)
            codes[part, stage] = code
            residual = residual - codebook[code]
    return codes


def exact_code(x: Tensor, codebook: Tensor, euclidean: float | Tensor = 1.0) -> Tensor:
    """Codes [N] by 64-bit scores [N, K], the lowest index where those cannot tell; `euclidean` 0 leaves out the half norms."""
    x, codebook = x.double(), codebook.double()
    norms = codebook.square().sum(-1)
    scores = x @ codebook.T - norms / 2 * euclidean
    floor = scores.amax(1, keepdim=True) - TIE * (x.norm(dim=1, keepdim=True) * norms.max().sqrt() + norms.max())
    last = codebook.shape[0] - 1
    return torch.where(scores < floor, last, torch.arange(codebook.shape[0], device=x.device)).amin(1)


def recode(x: Tensor, codebooks: Tensor, half_norms: Tensor, codes: Tensor, rows: Tensor, stages: Tensor) -> Tensor:
    """As `rescan`, where row rows[i] is in doubt at stage stages[i] alone; where its code there changes, from there on."""
    if len(rows):
        rows, at = rows.unique(return_inverse=True)
        unsure = rows.new_zeros((len(rows), codebooks.shape[0]), dtype=torch.bool)
        unsure[at, stages] = True
        _recode_rows(x, codebooks, half_norms, codes, rows, unsure)
    return codes


def _recode_rows(x: Tensor, codebooks: Tensor, half_norms: Tensor, codes: Tensor, rows: Tensor, unsure: Tensor) -> None:
    """Settle the codes of `rows` [n] wherever they are unsure [n, Q]."""
    factors = error_factors(codebooks, half_norms)
    size = max(1, BATCH_BYTES // (4 * codebooks.shape[1]))
    with exact_products(x):
        for part, open_stages in zip(rows.split(size), unsure.split(size), strict=True):
            residual, settled = x[part], codes[part]
            for stage, codebook in enumerate(codebooks.unbind(0)):
                code, again = settled[:, stage], open_stages[:, stage].nonzero()[:, 0]
                if len(again):
                    right = _search_again(residual[again], codebook, half_norms[stage], *(f[stage] for f in factors))
                    open_stages[again[right != code[again]], stage:] = True
                    code[again] = right
                residual = residual - codebook[code]
            codes[part] = settled


def _search_again(x: Tensor, codebook: Tensor, half_norms: Tensor, slope: Tensor, offset: Tensor) -> Tensor:
    """Codes [n] of 64 bits: those within the error of the best 32-bit score are candidates."""
    scores = torch.addmm(half_norms, x, codebook.T, beta=-1)
    floor = scores.amax(1) - x.norm(dim=1) * slope - offset
    return rescore(x, codebook, half_norms, (scores < floor[:, None]).logical_not_())


def rescore(x: Tensor, codebook: Tensor, half_norms: Tensor, candidates: Tensor) -> Tensor:
    """Best of the candidate codes [n, K] (bool) of each row in 64 bits, the lowest index where those are equal too.

    Written for `unlocked`.
    """
    row, code = candidates.nonzero().unbind(1)
    vectors = codebook[code].double()
    euclidean = half_norms.any()  # a cosine search has none; otherwise they are summed again in 64 bits
    score = ((x[row].double() - vectors / 2 * euclidean) * vectors).sum(1)
    best = torch.full((x.shape[0],), -math.inf, dtype=score.dtype, device=x.device).scatter_reduce_(0, row, score, "amax")
    last = codebook.shape[0] - 1
    code = torch.where(score < best[row], last, code)
    return code.new_full((x.shape[0],), last).scatter_reduce_(0, row, code, "amin")


@contextmanager
def exact_products(x: Tensor) -> Iterator[None]:
    """Full 32-bit products: a caller's autocast or reduced matmul precision would break the certificate."""
    precision, device = torch.get_float32_matmul_precision(), x.device.type
    if precision == "highest" and not torch.is_autocast_enabled(device):
        yield
        return
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(precision)
