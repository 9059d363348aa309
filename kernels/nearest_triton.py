"""The GPU's exact search: products of split numbers on tensor cores, the three greatest scores, and a certificate per row.

A 32-bit number is the sum of two 16-bit ones (bfloat16) and a rest of 2^-18 of it. Three of the four products of such pairs
give a score to within `product_error`. A row whose best code leads the third by more than that is settled on chip: its two
candidates are compared in 64 bits where they are close. Any other stage of a row is flagged, and `rescan_triton` looks at it
again.

Up to D = 256 one program takes its rows through all stages; above, each stage is a search and a settling pass. The few rows
of a stream have a search of their own, `split_triton`.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from . import rescan_triton, split_triton
from .launching import on_device_of_first
from .rescan import error_factors, rescan

FUSED_DIM = 256  # a row's split residual must fit on chip
INTERPRETED = triton.knobs.runtime.interpret  # bfloat16 products are wrong in the interpreter: it multiplies in 32 bits


def product_error(D: int) -> float:
    """Greatest error of a product <x, c> by split numbers, per |x| |c|.

    Splitting leaves 2^-18 of each factor, and the fourth product is of that size too; a tensor-core instruction adds 16
    products and truncates, which is taken as two units of 2^-22 per instruction, with a reserve for the scores' subtraction.
    """
    return 3 * 2.0**-18 + (2 * (3 * D / 16) + 16) * 2.0**-22


def encode(x: Tensor, codebooks: Tensor, half_norms: Tensor) -> Tensor:
    """Residual codes [N, Q], int64, of x [N, D] under codebooks [Q, K, D], all float32 and contiguous."""
    search = split_triton.search_stages if split_triton.takes(len(x), codebooks.shape[1]) else search_many
    codes, doubts = search(x, codebooks, half_norms)
    if rescan_triton.takes(x.shape[1]):
        return rescan_triton.settle_doubts(x, codebooks, half_norms, codes, doubts)
    return rescan(x, codebooks, half_norms, codes, doubts != 0)


@on_device_of_first
def search_many(x: Tensor, codebooks: Tensor, half_norms: Tensor) -> tuple[Tensor, Tensor]:
    """Codes [N, Q], and the stages [N] of each row that are not certain, as bits, by one program per block of rows."""
    _allow_descriptors(x)
    bounds = torch.cat(error_factors(codebooks, half_norms, product_error(x.shape[1])), dim=1).contiguous()
    run = _fused if x.shape[1] <= FUSED_DIM else _staged
    codes, doubts = run(x, codebooks, half_norms, bounds)
    return codes.T, doubts


def split(values: Tensor) -> tuple[Tensor, Tensor]:
    """High and middle bfloat16 parts of float32 values."""
    high = values.bfloat16()
    return high, (values - high.float()).bfloat16()


def padded_dim(D: int) -> int:
    """Tensor cores and register tiles take powers of two from 16."""
    return max(16, triton.next_power_of_2(D))


def _fused(x: Tensor, codebooks: Tensor, half_norms: Tensor, bounds: Tensor) -> tuple[Tensor, Tensor]:
    (N, D), (Q, K, _) = x.shape, codebooks.shape
    width = padded_dim(D)
    if width != D:
        x, codebooks = (torch.nn.functional.pad(t, (0, width - D)).contiguous() for t in (x, codebooks))
    residual = x.clone() if width == D else x
    high, middle = split(codebooks)
    codes = torch.empty((Q, N), dtype=torch.int64, device=x.device)
    doubts = torch.empty(N, dtype=torch.int64, device=x.device)
    options = fused_options(width)
    grid = (triton.cdiv(N, options["BN"]),)
    fused_kernel[grid](
        residual,
        codebooks,
        high,
        middle,
        half_norms,
        bounds,
        codes,
        doubts,
        N,
        Q,
        K,
        0,
        D=width,
        INTERP=INTERPRETED,
        **options,
    )
    return codes, doubts


def _staged(x: Tensor, codebooks: Tensor, half_norms: Tensor, bounds: Tensor) -> tuple[Tensor, Tensor]:
    (N, D), (Q, K, _) = x.shape, codebooks.shape
    width = triton.cdiv(D, 64) * 64
    residual = torch.nn.functional.pad(x, (0, width - D)).contiguous() if width != D or Q > 1 else x
    residual = residual.clone() if residual is x and Q > 1 else residual
    codebooks = torch.nn.functional.pad(codebooks, (0, width - D)).contiguous() if width != D else codebooks
    codes = torch.empty((Q, N), dtype=torch.int64, device=x.device)
    doubts = torch.zeros(N, dtype=torch.int64, device=x.device)
    first, second = torch.empty((2, N), dtype=torch.int32, device=x.device).unbind(0)
    gaps = torch.empty((2, N), dtype=torch.float32, device=x.device)
    for q in range(Q):
        (high, middle), parts = split(residual), split(codebooks[q])
        grid = (triton.cdiv(N, STAGED["BN"]),)
        staged_kernel[grid](
            high, middle, *parts, half_norms[q], first, second, gaps, N, K, D=width, INTERP=INTERPRETED, **STAGED
        )
        settle_kernel[(triton.cdiv(N, 16),)](
            residual, codebooks[q], bounds[q], first, second, gaps, codes[q], doubts, N, K, q,
            D=width, BN=16, BD=64, UPDATE=q + 1 < Q,
        )  # fmt: skip
    return codes, doubts


STAGED = {"BN": 128, "BK": 128, "BD": 64, "num_warps": 8, "num_stages": 3}


def fused_options(width: int) -> dict[str, int]:
    """Tile sizes that neither spill nor exceed shared memory on an H100 or H200, by the compile test."""
    rows, codes = (128, 128) if width <= 64 else (128, 64) if width <= 128 else (64, 64)
    return {"BN": rows, "BK": codes, "BD": 16, "num_warps": 8, "num_stages": 2}


def _allow_descriptors(x: Tensor) -> None:
    if x.is_cuda:
        triton.set_allocator(lambda size, align, stream: torch.empty(size, dtype=torch.int8, device=x.device))


@triton.jit
def top3(s, slot, k0, best, first, second_best, second, third_best):
    """Merge the three greatest of each row of s [BN, BK] into those kept; indices of two of them."""
    m1, i1 = tl.max(s, axis=1, return_indices=True)
    s = tl.where(slot[None, :] == i1[:, None], float("-inf"), s)
    m2, i2 = tl.max(s, axis=1, return_indices=True)
    m3 = tl.max(tl.where(slot[None, :] == i2[:, None], float("-inf"), s), axis=1)
    up = m1 > best
    loser, loser_code = tl.where(up, best, m1), tl.where(up, first, k0 + i1)
    heir, heir_code = tl.where(up, m2, second_best), tl.where(up, k0 + i2, second)
    after_loser, after_heir = tl.where(up, second_best, m2), tl.where(up, m3, third_best)
    beaten = loser > heir
    third_best = tl.maximum(tl.minimum(loser, heir), tl.where(beaten, after_loser, after_heir))
    second_best, second = tl.maximum(loser, heir), tl.where(beaten, loser_code, heir_code)
    return tl.maximum(best, m1), tl.where(up, k0 + i1, first), second_best, second, third_best


@triton.jit
def fused_kernel(
    r_ptr, cb_ptr, high_ptr, middle_ptr, half_ptr, bound_ptr, code_ptr, doubt_ptr, N, Q, K, nothing,
    D: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, BD: tl.constexpr, INTERP: tl.constexpr,
):  # fmt: skip
    """All stages for BN rows. Tables are [Q * K, D]; codes [Q, N].

    The residual [N, D], which starts as x, is only touched between stages: in registers it would not fit beside the scores.
    `nothing` is 0; added to its address in each stage, it keeps the compiler from holding the addresses over the search.
    """
    high_desc = tl.make_tensor_descriptor(high_ptr, [Q * K, D], [D, 1], [BK, D])
    middle_desc = tl.make_tensor_descriptor(middle_ptr, [Q * K, D], [D, 1], [BK, D])
    n0 = tl.program_id(0) * BN
    lane = tl.arange(0, BN)
    inside = n0 + lane < N
    cols = tl.arange(0, D)
    slot = tl.arange(0, BK)
    doubts = tl.zeros((BN,), tl.int64)
    for q in range(0, Q):
        r_ptr += nothing
        where = r_ptr + (n0 + lane)[:, None].to(tl.int64) * D + cols[None, :]
        r = tl.load(where, mask=inside[:, None], other=0.0)
        r_high = r.to(tl.bfloat16)
        r_middle = (r - r_high.to(tl.float32)).to(tl.bfloat16)
        length = tl.sqrt(tl.sum(r * r, axis=1))
        best = tl.full((BN,), float("-inf"), tl.float32)
        second_best = tl.full((BN,), float("-inf"), tl.float32)
        third_best = tl.full((BN,), float("-inf"), tl.float32)
        first = tl.zeros((BN,), tl.int32)
        second = tl.zeros((BN,), tl.int32)
        for k0 in range(0, K, BK):
            high = high_desc.load([q * K + k0, 0])
            middle = middle_desc.load([q * K + k0, 0])
            if INTERP:
                s = tl.dot(r, (high.to(tl.float32) + middle.to(tl.float32)).T)
            else:
                s = tl.dot(r_high, middle.T)
                s = tl.dot(r_middle, high.T, s)
                s = tl.dot(r_high, high.T, s)
            s -= tl.load(half_ptr + q * K + k0 + slot, mask=k0 + slot < K, other=float("inf"))[None, :]
            best, first, second_best, second, third_best = top3(s, slot, k0, best, first, second_best, second, third_best)
        offset = tl.load(bound_ptr + 2 * q + 1)
        bound = 1.001 * length * tl.load(bound_ptr + 2 * q) + offset
        lost = (best - third_best > bound) == 0  # also where a value is not a number
        doubts |= lost.to(tl.int64) << (q % 64)
        first = tl.minimum(first, K - 1)
        close = tl.where((best - second_best <= bound) & inside & (lost == 0), 1, 0)
        half = tl.where(offset > 0, 0.5, 0.0).to(tl.float64)  # a cosine search has no half norms
        for _ in range(tl.sum(close)):
            here = tl.min(tl.where(close > 0, lane, BN))
            row = lane == here
            a = tl.sum(tl.where(row, first, 0))
            b = tl.sum(tl.where(row, second, 0))
            v = tl.load(r_ptr + (n0 + here).to(tl.int64) * D + cols).to(tl.float64)
            ca = tl.load(cb_ptr + (q * K + a).to(tl.int64) * D + cols).to(tl.float64)
            cb = tl.load(cb_ptr + (q * K + b).to(tl.int64) * D + cols).to(tl.float64)
            lead = tl.sum((ca - cb) * (v - half * (ca + cb)))
            better = tl.where((lead < 0) | ((lead == 0) & (b < a)), b, a)
            first = tl.where(row, better, first)
            close = tl.where(row, 0, close)
        tl.store(code_ptr + n0 + lane, first.to(tl.int64), mask=inside)
        code_ptr += N
        if q + 1 < Q:
            for d0 in range(0, D, BD):
                part = d0 + tl.arange(0, BD)
                at = r_ptr + (n0 + lane)[:, None].to(tl.int64) * D + part[None, :]
                c = tl.load(cb_ptr + (q * K + first)[:, None].to(tl.int64) * D + part[None, :])
                tl.store(at, tl.load(at, mask=inside[:, None], other=0.0) - c, mask=inside[:, None])
            tl.debug_barrier()  # the next stage's close rows are read by other threads
    tl.store(doubt_ptr + n0 + lane, doubts, mask=inside)


@triton.jit
def staged_kernel(
    x_high_ptr, x_middle_ptr, high_ptr, middle_ptr, half_ptr, first_ptr, second_ptr, gap_ptr, N, K,
    D: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, BD: tl.constexpr, INTERP: tl.constexpr,
):  # fmt: skip
    """One stage for BN rows, BD dimensions at a time: two best codes, and the gaps [2, N] to the second and the third."""
    x_high_desc = tl.make_tensor_descriptor(x_high_ptr, [N, D], [D, 1], [BN, BD])
    x_middle_desc = tl.make_tensor_descriptor(x_middle_ptr, [N, D], [D, 1], [BN, BD])
    high_desc = tl.make_tensor_descriptor(high_ptr, [K, D], [D, 1], [BK, BD])
    middle_desc = tl.make_tensor_descriptor(middle_ptr, [K, D], [D, 1], [BK, BD])
    n0 = tl.program_id(0) * BN
    rows = n0 + tl.arange(0, BN)
    inside = rows < N
    slot = tl.arange(0, BK)
    best = tl.full((BN,), float("-inf"), tl.float32)
    second_best = tl.full((BN,), float("-inf"), tl.float32)
    third_best = tl.full((BN,), float("-inf"), tl.float32)
    first = tl.zeros((BN,), tl.int32)
    second = tl.zeros((BN,), tl.int32)
    for k0 in range(0, K, BK):
        s = tl.zeros((BN, BK), tl.float32)
        for d0 in range(0, D, BD):
            x_high = x_high_desc.load([n0, d0])
            x_middle = x_middle_desc.load([n0, d0])
            high = high_desc.load([k0, d0])
            middle = middle_desc.load([k0, d0])
            if INTERP:
                x = x_high.to(tl.float32) + x_middle.to(tl.float32)
                s += tl.dot(x, (high.to(tl.float32) + middle.to(tl.float32)).T)
            else:
                s = tl.dot(x_high, middle.T, s)
                s = tl.dot(x_middle, high.T, s)
                s = tl.dot(x_high, high.T, s)
        s -= tl.load(half_ptr + k0 + slot, mask=k0 + slot < K, other=float("inf"))[None, :]
        best, first, second_best, second, third_best = top3(s, slot, k0, best, first, second_best, second, third_best)
    tl.store(first_ptr + rows, tl.minimum(first, K - 1), mask=inside)
    tl.store(second_ptr + rows, tl.minimum(second, K - 1), mask=inside)
    tl.store(gap_ptr + rows, best - second_best, mask=inside)
    tl.store(gap_ptr + N + rows, best - third_best, mask=inside)


@triton.jit(do_not_specialize=["q"])
def settle_kernel(
    r_ptr, cb_ptr, bound_ptr, first_ptr, second_ptr, gap_ptr, code_ptr, doubt_ptr, N, K, q,
    D: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr, UPDATE: tl.constexpr,
):  # fmt: skip
    """Choose between the two best codes of each row in 64 bits where they are close, and subtract the choice if UPDATE."""
    rows = tl.program_id(0).to(tl.int64) * BN + tl.arange(0, BN)
    inside = rows < N
    first = tl.load(first_ptr + rows, mask=inside, other=0)
    second = tl.load(second_ptr + rows, mask=inside, other=0)
    offset = tl.load(bound_ptr + 1)
    half = tl.where(offset > 0, 0.5, 0.0).to(tl.float64)
    lead = tl.zeros((BN,), tl.float64)
    squares = tl.zeros((BN,), tl.float32)
    for d0 in range(0, D, BD):
        cols = d0 + tl.arange(0, BD)
        r = tl.load(r_ptr + rows[:, None] * D + cols[None, :], mask=inside[:, None], other=0.0)
        a = tl.load(cb_ptr + first[:, None].to(tl.int64) * D + cols[None, :]).to(tl.float64)
        b = tl.load(cb_ptr + second[:, None].to(tl.int64) * D + cols[None, :]).to(tl.float64)
        squares += tl.sum(r * r, axis=1)
        lead += tl.sum((a - b) * (r.to(tl.float64) - half * (a + b)), axis=1)
    bound = 1.001 * tl.sqrt(squares) * tl.load(bound_ptr) + offset
    close = tl.load(gap_ptr + rows, mask=inside, other=0.0) <= bound
    lost = (tl.load(gap_ptr + N + rows, mask=inside, other=0.0) > bound) == 0
    code = tl.where(close & ((lead < 0) | ((lead == 0) & (second < first))), second, first)
    tl.store(code_ptr + rows, code.to(tl.int64), mask=inside)
    doubts = tl.load(doubt_ptr + rows, mask=inside & lost, other=0)
    tl.store(doubt_ptr + rows, doubts | (tl.full((BN,), 1, tl.int64) << (q % 64)), mask=inside & lost)
    if UPDATE:
        for d0 in range(0, D, BD):
            cols = d0 + tl.arange(0, BD)
            where = r_ptr + rows[:, None] * D + cols[None, :]
            r = tl.load(where, mask=inside[:, None], other=0.0)
            c = tl.load(cb_ptr + code[:, None].to(tl.int64) * D + cols[None, :])
            tl.store(where, r - c, mask=inside[:, None])
