"""The second look at doubtful rows on a GPU, which need not say how many there are: one launch, and no waiting.

Each program takes the doubtful rows of its block, one after the other. Where a stage is in doubt, 64 bits choose among all of
its codes, as in `rescan.exact_code`; the stages after it are searched again only if that choice is another one.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .launching import on_device_of_first
from .rescan import TIE

MOST_DIM = 1024  # of a residual that registers hold
BITS = 64  # of a row's doubts: stage s is in doubt where bit s % 64 is set
ROWS = 32
TILE = 4096  # numbers of a codebook that are in flight at once


def takes(D: int) -> bool:
    """Whether vectors of D dimensions are looked at again here."""
    return 0 < D <= MOST_DIM


def options(D: int) -> dict[str, int]:
    """Tile sizes that do not spill on an H100 or H200, by the compile test."""
    width = max(16, triton.next_power_of_2(D))
    return {"D": D, "WIDTH": width, "ROWS": ROWS, "BK": max(1, TILE // width), "num_warps": 8, "num_stages": 1}


@on_device_of_first
def settle_doubts(x: Tensor, codebooks: Tensor, half_norms: Tensor, codes: Tensor, doubts: Tensor) -> Tensor:
    """Replace codes [N, Q] in place where 64 bits choose others.

    Args:
        x: [N, D], float32 and contiguous, as are `codebooks` [Q, K, D].
        half_norms: [Q, K]; all zero for a cosine search.
        codes: [N, Q], int64, of any strides.
        doubts: [N], int64: bit s % 64 tells whether the code of stage s is in doubt.
    """
    (N, _), (Q, K, _) = x.shape, codebooks.shape
    euclidean = half_norms.any().to(torch.int8)
    rescan_kernel[(triton.cdiv(N, ROWS),)](
        x, codebooks, codes, doubts, euclidean, N, Q, K, *codes.stride(), TIE=TIE, **options(x.shape[1])
    )
    return codes


@triton.jit
def score(book_ptr, vector, k0, K, half, D: tl.constexpr, WIDTH: tl.constexpr, BK: tl.constexpr):
    """Scores [BK] of the codes from k0 on, in 64 bits, and their squared lengths; beyond the last, -inf and 0."""
    slot, cols = k0 + tl.arange(0, BK), tl.arange(0, WIDTH)
    there = (slot < K)[:, None] & (cols < D)[None, :]
    c = tl.load(book_ptr + slot[:, None].to(tl.int64) * D + cols[None, :], mask=there, other=0.0).to(tl.float64)
    squares = tl.sum(c * c, axis=1)
    s = tl.sum(c * vector[None, :], axis=1) - half * squares
    return tl.where(slot < K, s, float("-inf")), squares


@triton.jit
def exact_code(book_ptr, vector, K, half, TIE: tl.constexpr, D: tl.constexpr, WIDTH: tl.constexpr, BK: tl.constexpr):
    """The lowest of the codes that 64 bits cannot tell from the best."""
    best = tl.full((BK,), float("-inf"), tl.float64)
    peak = tl.zeros((BK,), tl.float64)
    strange = tl.zeros((BK,), tl.int32)
    for k0 in range(0, K, BK):
        s, squares = score(book_ptr, vector, k0, K, half, D, WIDTH, BK)
        best = tl.maximum(best, s)
        peak = tl.maximum(peak, squares)
        strange = tl.where(s == s, strange, 1)
    most = tl.max(peak)
    floor = tl.max(best) - TIE * (tl.sqrt(tl.sum(vector * vector)) * tl.sqrt(most) + most)
    floor = tl.where(tl.max(strange) > 0, float("nan"), floor)  # as the greatest of values of which one is no number
    found = tl.zeros((BK,), tl.int32) + (K - 1)
    for k0 in range(0, K, BK):
        s, _ = score(book_ptr, vector, k0, K, half, D, WIDTH, BK)
        slot = k0 + tl.arange(0, BK)
        found = tl.minimum(found, tl.where((s < floor) | (slot >= K), K - 1, slot))
    return tl.min(found)


@triton.jit
def rescan_kernel(
    x_ptr, cb_ptr, code_ptr, doubt_ptr, euclidean_ptr, N, Q, K, row_step, stage_step,
    TIE: tl.constexpr, D: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """ROWS rows per program. Codebooks are [Q, K, D]; the code of row n and stage q lies at n * row_step + q * stage_step."""
    n0 = tl.program_id(0).to(tl.int64) * ROWS
    lane = tl.arange(0, ROWS)
    cols = tl.arange(0, WIDTH)
    doubts = tl.load(doubt_ptr + n0 + lane, mask=n0 + lane < N, other=0)
    waiting = tl.where(doubts != 0, 1, 0)
    half = tl.load(euclidean_ptr).to(tl.float64) * 0.5
    for _ in range(tl.sum(waiting)):
        here = tl.min(tl.where(waiting > 0, lane, ROWS))
        waiting = tl.where(lane == here, 0, waiting)
        unsure = tl.sum(tl.where(lane == here, doubts, 0))
        r = tl.load(x_ptr + (n0 + here) * D + cols, mask=cols < D, other=0.0)
        at = code_ptr + (n0 + here) * row_step
        book_ptr = cb_ptr
        for q in range(0, Q):
            code = tl.load(at).to(tl.int32)
            if ((unsure >> (q % 64)) & 1) != 0:
                right = exact_code(book_ptr, r.to(tl.float64), K, half, TIE, D, WIDTH, BK)
                if right != code:
                    unsure = unsure | -1
                    code = right
                    tl.store(at, right.to(tl.int64))
            r -= tl.load(book_ptr + code.to(tl.int64) * D + cols, mask=cols < D, other=0.0)
            book_ptr += K * D
            at += stage_step
