"""Sums per code by integer atomics, whose order leaves no trace; `statistics.py` has the definition."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .launching import on_device_of_first

ROUND = 1.5 * 2.0**52  # adding it to a 64-bit float, and subtracting it again, rounds to the nearest whole number, ties to even


@on_device_of_first
def code_statistics(codes: Tensor, rows: Tensor, K: int, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Counts int64 [K] and scaled sums int64 [K, D] of rows [N, D] under codes int64 [N]; `scale` is a float64 scalar."""
    N, D = rows.shape
    rows, codes = rows.contiguous(), codes.contiguous()
    sums = torch.zeros((K, D), dtype=torch.int64, device=rows.device)
    counts = torch.zeros(K, dtype=torch.int64, device=rows.device)
    if N:
        width = min(128, triton.next_power_of_2(D))
        grid = (triton.cdiv(N, 32), triton.cdiv(D, width))
        statistics_kernel[grid](rows, codes, sums, counts, scale, N, D, BN=32, BD=width, ROUND=ROUND)
    return counts, sums


@triton.jit
def statistics_kernel(
    x_ptr, code_ptr, sum_ptr, count_ptr, scale_ptr, N, D, BN: tl.constexpr, BD: tl.constexpr, ROUND: tl.constexpr
):  # fmt: skip
    """BN rows and BD dimensions per program."""
    rows = tl.program_id(0).to(tl.int64) * BN + tl.arange(0, BN)
    cols = tl.program_id(1) * BD + tl.arange(0, BD)
    inside = rows < N
    mask = inside[:, None] & (cols < D)[None, :]
    code = tl.load(code_ptr + rows, mask=inside, other=0)
    x = tl.load(x_ptr + rows[:, None] * D + cols[None, :], mask=mask, other=0.0).to(tl.float64)
    value = x * tl.load(scale_ptr)
    whole = ((value + ROUND) - ROUND).to(tl.int64)
    tl.atomic_add(sum_ptr + code[:, None] * D + cols[None, :], whole, mask=mask, sem="relaxed")
    if tl.program_id(1) == 0:
        tl.atomic_add(count_ptr + code, tl.full((BN,), 1, tl.int64), mask=inside, sem="relaxed")
