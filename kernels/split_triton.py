"""The GPU's search for the few rows of a stream: the codes of a stage are split over programs, so that a step fills the card.

One launch per stage. Each program first merges what all programs of the stage before found, in the same way in each of them,
settles it, and subtracts the choice; then it searches its own share of the codes. Products are of 32 bits: there are few, and
splitting the codebooks, as `nearest_triton` does for many rows, would cost more than it saves.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .launching import on_device_of_first
from .rescan import error_factors

MOST_ROWS = 256  # above, one program per block of rows fills the card as well
MOST_SHARES = 128  # of the codes: every program merges what all have found
OPTIONS = {"BN": 16, "BK": 32, "BD": 32, "num_warps": 4, "num_stages": 2}


def takes(N: int, K: int) -> bool:
    """Whether N rows are searched here among K codes."""
    return N <= MOST_ROWS and triton.cdiv(K, OPTIONS["BK"]) <= MOST_SHARES


@on_device_of_first
def search_stages(x: Tensor, codebooks: Tensor, half_norms: Tensor) -> tuple[Tensor, Tensor]:
    """Codes [N, Q], int64, and the stages [N] of each row that are not certain, as bits (`rescan_triton`)."""
    (N, D), (Q, K, _) = x.shape, codebooks.shape
    bounds = torch.cat(error_factors(codebooks, half_norms), dim=1).contiguous()
    shares = triton.cdiv(K, OPTIONS["BK"])
    codes = torch.empty((Q, N), dtype=torch.int64, device=x.device)
    doubts = torch.zeros(N, dtype=torch.int64, device=x.device)
    residuals = (x, *torch.empty((2, N, D), device=x.device).unbind(0))
    scores = torch.empty((2, 3, shares, N), device=x.device)  # of the stage before, and of this one
    places = torch.empty((2, 2, shares, N), dtype=torch.int32, device=x.device)
    for q in range(Q + 1):
        before, now = max(q - 1, 0), min(q, Q - 1)
        source = 0 if q < 2 else 2 - q % 2
        split_kernel[(triton.cdiv(N, OPTIONS["BN"]), shares if q < Q else 1)](
            residuals[source], residuals[1 + q % 2], codebooks[before], codebooks[now], half_norms[now], bounds[before],
            scores[(q + 1) % 2], places[(q + 1) % 2], scores[q % 2], places[q % 2], codes[before], doubts, N, K, shares, before,
            D=D, SHARES=triton.next_power_of_2(shares), MERGE=q > 0, SEARCH=q < Q, **OPTIONS,
        )  # fmt: skip
    return codes.T, doubts


@triton.jit(do_not_specialize=["before"])
def split_kernel(
    r_ptr, new_ptr, before_ptr, cb_ptr, half_ptr, bound_ptr, old_score_ptr, old_place_ptr, score_ptr, place_ptr, code_ptr,
    doubt_ptr, N, K, shares, before,
    D: tl.constexpr, SHARES: tl.constexpr, MERGE: tl.constexpr, SEARCH: tl.constexpr,
    BN: tl.constexpr, BK: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """BN rows, BK codes per program. Scores [3, shares, N] are the three greatest of each share, places [2, shares, N] of two.

    The residual [N, D] of the stage before is read from `r_ptr`, and that of this one written to `new_ptr` for the next.
    """
    rows = tl.program_id(0).to(tl.int64) * BN + tl.arange(0, BN)
    share = tl.program_id(1)
    inside = rows < N
    chosen = tl.zeros((BN,), tl.int64)
    if MERGE:
        part = tl.arange(0, SHARES)
        at = part[:, None] * N + rows[None, :]
        mask = (part < shares)[:, None] & inside[None, :]
        low = float("-inf")
        m1 = tl.load(old_score_ptr + at, mask=mask, other=low)
        m2 = tl.load(old_score_ptr + shares * N + at, mask=mask, other=low)
        m3 = tl.load(old_score_ptr + 2 * shares * N + at, mask=mask, other=low)
        i1 = tl.load(old_place_ptr + at, mask=mask, other=0)
        i2 = tl.load(old_place_ptr + shares * N + at, mask=mask, other=0)
        best, winner = tl.max(m1, axis=0, return_indices=True)
        won = part[:, None] == winner[None, :]
        first = tl.sum(tl.where(won, i1, 0), axis=0)
        rest = tl.where(won, m2, m1)
        second_best, heir = tl.max(rest, axis=0, return_indices=True)
        follows = part[:, None] == heir[None, :]
        second = tl.sum(tl.where(follows, tl.where(won, i2, i1), 0), axis=0)
        third_best = tl.max(tl.where(won & follows, m3, tl.where(won | follows, m2, m1)), axis=0)
        first = tl.minimum(first, K - 1).to(tl.int64)
        second = tl.minimum(second, K - 1).to(tl.int64)
        offset = tl.load(bound_ptr + 1)
        half = tl.where(offset > 0, 0.5, 0.0).to(tl.float64)  # a cosine search has no half norms
        lead = tl.zeros((BN,), tl.float64)
        squares = tl.zeros((BN,), tl.float32)
        for d0 in range(0, D, BD):
            cols = d0 + tl.arange(0, BD)
            there = inside[:, None] & (cols < D)[None, :]
            r = tl.load(r_ptr + rows[:, None] * D + cols[None, :], mask=there, other=0.0)
            a = tl.load(before_ptr + first[:, None] * D + cols[None, :], mask=there, other=0.0).to(tl.float64)
            b = tl.load(before_ptr + second[:, None] * D + cols[None, :], mask=there, other=0.0).to(tl.float64)
            squares += tl.sum(r * r, axis=1)
            lead += tl.sum((a - b) * (r.to(tl.float64) - half * (a + b)), axis=1)
        bound = 1.001 * tl.sqrt(squares) * tl.load(bound_ptr) + offset
        close = best - second_best <= bound
        chosen = tl.where(close & ((lead < 0) | ((lead == 0) & (second < first))), second, first)
        if share == 0:
            tl.store(code_ptr + rows, chosen, mask=inside)
            lost = (best - third_best > bound) == 0  # also where a value is not a number
            doubts = tl.load(doubt_ptr + rows, mask=inside & lost, other=0)
            tl.store(doubt_ptr + rows, doubts | (tl.full((BN,), 1, tl.int64) << (before % 64)), mask=inside & lost)
    if SEARCH:
        codes = share * BK + tl.arange(0, BK)
        s = tl.zeros((BN, BK), tl.float32)
        for d0 in range(0, D, BD):
            cols = d0 + tl.arange(0, BD)
            there = inside[:, None] & (cols < D)[None, :]
            r = tl.load(r_ptr + rows[:, None] * D + cols[None, :], mask=there, other=0.0)
            if MERGE:
                r -= tl.load(before_ptr + chosen[:, None] * D + cols[None, :], mask=there, other=0.0)
                if share == 0:
                    tl.store(new_ptr + rows[:, None] * D + cols[None, :], r, mask=there)
            c = tl.load(
                cb_ptr + codes[:, None].to(tl.int64) * D + cols[None, :],
                mask=(codes < K)[:, None] & (cols < D)[None, :],
                other=0.0,
            )
            s = tl.dot(r, c.T, s, input_precision="ieee")
        s -= tl.load(half_ptr + codes, mask=codes < K, other=float("inf"))[None, :]
        slot = tl.arange(0, BK)
        v1, j1 = tl.max(s, axis=1, return_indices=True)
        s = tl.where(slot[None, :] == j1[:, None], float("-inf"), s)
        v2, j2 = tl.max(s, axis=1, return_indices=True)
        v3 = tl.max(tl.where(slot[None, :] == j2[:, None], float("-inf"), s), axis=1)
        at_share = share * N + rows
        tl.store(score_ptr + at_share, v1, mask=inside)
        tl.store(score_ptr + shares * N + at_share, v2, mask=inside)
        tl.store(score_ptr + 2 * shares * N + at_share, v3, mask=inside)
        tl.store(place_ptr + at_share, share * BK + j1, mask=inside)
        tl.store(place_ptr + shares * N + at_share, share * BK + j2, mask=inside)
