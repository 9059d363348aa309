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

from .rescan import error_factors, exact_products, recode
from .settled import encode_few, encode_settled
from .tiled import ROWS, encode_tiled, takes, tiles
from .workers import share
from .workspace import block_size, buffers, encode_residual

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
        codes = torch.empty((Q, N), dtype=torch.int64)
        if N <= FEW_ROWS:
            encode_few(x, (codebooks, half_norms), (slopes, offsets), codes)
            return codes.T
        if chunk_rows(N, K, D + PER_STAGE * Q, 1) >= N and not takes(K):
            encode_settled(x, (codebooks, half_norms), (slopes, offsets), buffers(N, 1, K, D), codes)
            return codes.T
        doubtful = _encode_chunks(x, codebooks, -half_norms, slopes, offsets, codes)
    return recode(x, codebooks, half_norms, codes.T, *doubtful)


def _encode_chunks(
    x: Tensor, codebooks: Tensor, bias: Tensor, slopes: Tensor, offsets: Tensor, codes: Tensor
) -> tuple[Tensor, Tensor]:
    """Write codes [Q, N]; return which rows at which stages are in doubt: to settle them at once would cost more."""
    (N, D), (Q, K, _) = x.shape, codebooks.shape
    found: list[Tensor] = []
    tiled = takes(K)
    size = (lambda _: min(N, ROWS)) if tiled else partial(chunk_rows, N, K, D + PER_STAGE * Q)
    make, encode_rows = (tiles, encode_tiled) if tiled else (buffers, encode_residual)

    def work_on(parts: Iterator[slice]) -> None:
        work = None
        for part in parts:
            if work is None or work.best.shape[1] != part.stop - part.start:
                work = None  # before the last and smaller one is made
                work = make(part.stop - part.start, Q, K, D)
            encode_rows(x[part], codebooks, bias, work, codes[:, part])
            sure = work.best - work.second > torch.addcmul(offsets, work.norm, slopes)
            found.append(sure.logical_not_().nonzero() + torch.tensor([0, part.start]))

    share(work_on, N, size, work=2 * N * Q * K * D)
    stages, rows = torch.cat(found).unbind(1)
    return rows, stages
