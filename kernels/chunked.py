"""The CPU's exact search: scores of a few rows at a time, a two-level maximum, and a certificate for each row.

A chunk's scores stay in cache. Their maximum is vectorised, their arg-maximum is not (ten times slower), so the codes are
split into blocks: first the maximum of each block, then the best block, then the place inside that block alone. The runner-up
falls out of the same two levels. Where it is closer than the worst rounding error of the 32-bit product, the row is doubtful
and coded again by `rescan`; every other row is certain.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from .rescan import error_factors, exact_products, rescan, rescore
from .workers import share

CHUNK_BYTES = 1 << 21  # a chunk's buffers: cache-sized, and large enough to hide the cost of each call
LEAST_BYTES = 3 << 19  # where there are few rows: memory matters less than the number of calls
MEMORY_SHARE = 0.09  # of the N x K scores that are never written
MIN_ROWS = 16
FEW_ROWS = 12  # up to here a sort of whole rows costs less than the calls of the two levels


class Workspace:
    """Buffers for chunks of exactly `rows` rows, and the views of them that a search needs; padding codes score -inf."""

    def __init__(self, rows: int, Q: int, K: int, D: int, like: Tensor) -> None:
        self.rows, self.codes, self.block = rows, K, block_size(K)
        blocks = max(2, -(-K // self.block))
        scores = like.new_full((rows, blocks * self.block), -torch.inf)
        self.scores, self.padded = scores[:, :K], blocks * self.block > K
        self.by_block, self.flat = scores.view(rows, blocks, self.block), scores.view(-1, self.block)
        self.block_peaks = like.new_empty((rows, blocks))
        self.top, self.top_block = like.new_empty((rows, 2)), torch.empty((rows, 2), dtype=torch.int64)
        self.best_block, self.runner_up = self.top_block[:, 0], self.top[:, 1]
        self.first_block, self.chosen_block = torch.arange(rows) * blocks, torch.empty(rows, dtype=torch.int64)
        self.inside, self.inside_rest = like.new_empty((rows, self.block)), like.new_empty(rows)
        self.place = torch.empty((rows, 1), dtype=torch.int64)
        self.flat_place = self.place[:, 0]
        self.residual = like.new_empty((rows, D))
        free = not self.padded and K >= D  # between two searches the scores' memory can hold the chosen vectors
        self.chosen = scores.view(-1)[: rows * D].view(rows, D) if free else like.new_empty((rows, D))
        self.best, self.second, self.norm = like.new_empty((3, Q, rows)).unbind(0)

    def search(self, x: Tensor, codebook: Tensor, bias: Tensor, stage: int, code: Tensor) -> None:
        """Write the best code of each row into `code`, and this stage's greatest and next greatest scores."""
        torch.addmm(bias, x, codebook.T, out=self.scores)
        torch.amax(self.by_block, 2, out=self.block_peaks)
        torch.topk(self.block_peaks, 2, 1, out=(self.top, self.top_block))
        torch.add(self.first_block, self.best_block, out=self.chosen_block)
        torch.index_select(self.flat, 0, self.chosen_block, out=self.inside)
        torch.max(self.inside, 1, keepdim=True, out=(self.best[stage][:, None], self.place))
        torch.add(self.flat_place, self.best_block, alpha=self.block, out=code)
        if self.padded:
            code.clamp_(max=self.codes - 1)  # only where every score is -inf
        torch.amax(self.inside.scatter_(1, self.place, -torch.inf), 1, out=self.inside_rest)
        torch.maximum(self.inside_rest, self.runner_up, out=self.second[stage])


def block_size(K: int) -> int:
    """Codes per block: a power of two near 2 sqrt(K), where the two levels cost least."""
    return 1 << max(4, math.ceil(math.log2(max(2, K)) / 2) + 1)


def chunk_rows(N: int, K: int, D: int, workers: int) -> int:
    """Rows per chunk such that all workers' buffers stay in cache and, where they are many, under a share of the scores."""
    budget = min(CHUNK_BYTES, max(LEAST_BYTES, MEMORY_SHARE * 4 * N * K) / workers)
    rows = int(budget / (4 * (K + block_size(K) + D + 48)))
    return max(1, min(-(-N // workers), max(MIN_ROWS, rows)))


def encode(x: Tensor, codebooks: Tensor, half_norms: Tensor) -> Tensor:
    """Residual codes [N, Q] of x [N, D] under codebooks [Q, K, D], all float32 on the CPU; in memory stage after stage."""
    (N, D), (Q, K, _) = x.shape, codebooks.shape
    slopes, offsets = error_factors(codebooks, half_norms)
    with exact_products(x):
        if N <= FEW_ROWS:
            return _encode_few(x, codebooks, half_norms, slopes[:, 0].tolist(), offsets[:, 0].tolist())
        bias, rows = (-half_norms).unbind(0), chunk_rows(N, K, D, 1)
        if rows >= N:
            codes, work = torch.empty((Q, N), dtype=torch.int64), Workspace(N, Q, K, D, x)
            for stage, residual in _stages(x, codebooks, bias, work, codes):
                bound = torch.addcmul(offsets[stage], work.norm[stage], slopes[stage])
                _settle(residual, codebooks[stage], half_norms[stage], bound, work, stage, codes[stage])
            return codes.T
        codes, doubtful = _encode_chunks(x, codebooks, bias, slopes, offsets)
    return rescan(x, codebooks, half_norms, codes.T, doubtful)


def _encode_chunks(
    x: Tensor, codebooks: Tensor, bias: tuple[Tensor, ...], slopes: Tensor, offsets: Tensor
) -> tuple[Tensor, Tensor]:
    """Codes [Q, N], and which rows [N] are in doubt at some stage: to ask at each stage would cost more than a second look."""
    (N, D), (Q, K, _) = x.shape, codebooks.shape
    codes, doubtful = torch.empty((Q, N), dtype=torch.int64), torch.zeros(N, dtype=torch.bool)

    def encode_rows(first: int, last: int, workers: int) -> None:
        rows = chunk_rows(N, K, D, workers)
        work = Workspace(rows, Q, K, D, x)
        for start in range(first, last, rows):
            part = slice(start, min(last, start + rows))
            if part.stop - start != work.rows:
                del work  # before the last and smaller one is made
                work = Workspace(part.stop - start, Q, K, D, x)
            for _ in _stages(x[part], codebooks, bias, work, codes[:, part]):
                pass
            sure = work.best - work.second > torch.addcmul(offsets, work.norm, slopes)
            torch.logical_not(sure.all(0), out=doubtful[part])

    share(encode_rows, N, work=2 * N * Q * K * D)
    return codes, doubtful


def _stages(
    x: Tensor, codebooks: Tensor, bias: tuple[Tensor, ...], work: Workspace, codes: Tensor
) -> Iterator[tuple[int, Tensor]]:
    """Search stage after stage; each is yielded with its input, so that its codes may be put right before the next."""
    residual = x
    for stage, codebook in enumerate(codebooks.unbind(0)):
        torch.linalg.vector_norm(residual, dim=1, out=work.norm[stage])
        work.search(residual, codebook, bias[stage], stage, codes[stage])
        yield stage, residual
        if stage + 1 < len(bias):
            torch.index_select(codebook, 0, codes[stage], out=work.chosen)
            residual = torch.sub(residual, work.chosen, out=work.residual)


def _settle(x: Tensor, codebook: Tensor, half_norms: Tensor, bound: Tensor, work: Workspace, stage: int, code: Tensor) -> None:
    """Score the candidates of this stage's doubtful rows again, in place."""
    best = work.best[stage]
    sure = best - work.second[stage] > bound
    if not sure.all():
        rows = sure.logical_not_().nonzero()[:, 0]
        near = (work.scores[rows] < (best - bound)[rows, None]).logical_not_()
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
