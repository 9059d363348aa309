"""The CPU's exact search: scores of a few rows at a time, a two-level maximum, and a certificate for each row.

A chunk's scores stay in cache. Their maximum is vectorised, their arg-maximum is not (ten times slower), so the codes are
split into blocks: first the maximum of each block, then the best block, then the place inside that block alone. The runner-up
is the maximum of what is left. Where it is closer than the worst rounding error of the 32-bit product, the row is in doubt at
that stage and settled by `recode`; every other code is certain.
"""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from .rescan import error_factors, exact_products, recode, rescore
from .tiled import ROWS, TiledWorkspace, takes
from .workers import share
from .workspace import Books, Workspace, block_size

CHUNK_BYTES = 1 << 21  # a chunk's buffers: cache-sized, and large enough to hide the cost of each call
LEAST_BYTES = 3 << 19  # where there are few rows: memory matters less than the number of calls
MEMORY_SHARE = 0.09  # of the N x K scores that are never written
MIN_ROWS = 16
PER_STAGE = 5  # floats that a row has for each stage: scores, lengths and bounds
FEW_ROWS = 12  # up to here a sort of whole rows costs less than the calls of the two levels


def chunk_rows(N: int, K: int, beside: int, workers: int) -> int:
    """Rows per chunk such that all workers' buffers stay in cache and, where they are many, under a share of the scores.

    A worker's chunks are of one size, as far as it divides. `beside` is how many floats a row has beside its scores.
    """
    budget = min(CHUNK_BYTES, max(LEAST_BYTES, MEMORY_SHARE * 4 * N * K) / workers)
    most, share = max(MIN_ROWS, int(budget / (4 * (K + block_size(K) + beside + 16)))), -(-N // workers)
    return max(1, -(-share // -(-share // most)) if share else 1)


def encode(x: Tensor, codebooks: Tensor, half_norms: Tensor) -> Tensor:
    """Residual codes [N, Q] of x [N, D] under codebooks [Q, K, D], all float32 on the CPU; in memory stage after stage."""
    (N, D), (Q, K, _) = x.shape, codebooks.shape
    slopes, offsets = error_factors(codebooks, half_norms)
    with exact_products(x):
        if N <= FEW_ROWS:
            return _encode_few(x, codebooks, half_norms, slopes[:, 0].tolist(), offsets[:, 0].tolist())
        books, codes = Books(codebooks, half_norms), torch.empty((Q, N), dtype=torch.int64)
        if chunk_rows(N, K, D + PER_STAGE * Q, 1) >= N and not takes(K):
            work = Workspace(N, Q, K, D, x)
            for stage, residual in _stages(x, books, work, codes):
                bound = torch.addcmul(offsets[stage], work.norm[stage], slopes[stage])
                _settle(residual, codebooks[stage], half_norms[stage], bound, work, stage, codes[stage])
            return codes.T
        doubtful = _encode_chunks(x, books, slopes, offsets, codes)
    return recode(x, codebooks, half_norms, codes.T, *doubtful)


def _encode_chunks(x: Tensor, books: Books, slopes: Tensor, offsets: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    """Write codes [Q, N]; return which rows at which stages are in doubt: to settle them at once would cost more."""
    (N, D), (Q, K, _) = x.shape, books.shape
    found: list[Tensor] = []
    kind, size = (
        (TiledWorkspace, lambda _: min(N, ROWS)) if takes(K) else (Workspace, partial(chunk_rows, N, K, D + PER_STAGE * Q))
    )

    def encode_rows(parts: Iterator[slice]) -> None:
        work = None
        for part in parts:
            if work is None or work.rows != part.stop - part.start:
                work = None  # before the last and smaller one is made
                work = kind(part.stop - part.start, Q, K, D, x)
            for _ in _stages(x[part], books, work, codes[:, part]):
                pass
            sure = work.best - work.second > torch.addcmul(offsets, work.norm, slopes)
            found.append(sure.logical_not_().nonzero() + torch.tensor([0, part.start]))

    share(encode_rows, N, size, work=2 * N * Q * K * D)
    stages, rows = torch.cat(found).unbind(1)
    return rows, stages


def _stages(x: Tensor, books: Books, work: Workspace | TiledWorkspace, codes: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Search stage after stage; each is yielded with its input, so that its codes may be put right before the next."""
    residual, last = x, len(books.bias) - 1
    for stage, code in enumerate(codes.unbind(0)):
        torch.linalg.vector_norm(residual, dim=1, out=work.norms[stage])
        work.search(residual, books, stage, code)
        yield stage, residual
        if stage < last:
            torch.index_select(books.stages[stage], 0, code, out=work.chosen)
            residual = torch.sub(residual, work.chosen, out=work.residual)


def _settle(x: Tensor, codebook: Tensor, half_norms: Tensor, bound: Tensor, work: Workspace, stage: int, code: Tensor) -> None:
    """Score the candidates of this stage's doubtful rows again, in place."""
    best = work.best[stage]
    sure = best - work.second[stage] > bound
    if not sure.all():
        rows = sure.logical_not_().nonzero()[:, 0]
        near = (work.scores[rows] < (best - bound)[rows, None]).logical_not_()
        near.scatter_(1, code[rows, None], True)
        code[rows] = rescore(x[rows], codebook, half_norms, near)


def _encode_few(x: Tensor, codebooks: Tensor, half_norms: Tensor, slopes: list[float], offsets: list[float]) -> Tensor:
    """As `encode` for the few rows of a stream, where each call counts; doubt is settled stage by stage."""
    codes = []
    for stage, codebook in enumerate(codebooks.unbind(0)):
        scores = torch.addmm(half_norms[stage], x, codebook.T, beta=-1)
        top, code = scores.topk(min(2, scores.shape[1]), 1)
        code, bound = code[:, 0], torch.linalg.vector_norm(x, dim=1) * slopes[stage] + offsets[stage]
        if scores.shape[1] > 1 and not (top[:, 0] - top[:, 1] > bound).all():
            near = (scores < (top[:, 0] - bound)[:, None]).logical_not_()
            code = rescore(x, codebook, half_norms[stage], near)
        codes.append(code)
        x = x - codebook.index_select(0, code)
    return torch.stack(codes).T
