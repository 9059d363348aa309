"""Folded factorised encode on a GPU: inputs and corrections in 64 bits, the search on tensor cores by six split products.

What a chosen code takes from the inputs of later stages is a row of a table, so a stage's input is a few gathered numbers.
`factorised.py` has the algebra, `nearest_triton.py` the certificate.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .factorised import Folded
from .launching import on_device_of_first
from .nearest_triton import INTERPRETED, _allow_descriptors, top3
from .rescan import error_factors

OPTIONS = {"BN": 64, "BK": 128, "num_warps": 4, "num_stages": 2}


def product_error(width: int) -> float:
    """Greatest error of a product by six split products, per |x| |c|; see `nearest_triton.product_error`.

    Three parts leave 2^-26 of each factor, and the inputs are rounded once from 64 bits.
    """
    return 4 * 2.0**-26 + 2.0**-24 + (2 * (6 * width / 16) + 4) * 2.0**-22


@on_device_of_first
def encode(x: Tensor, folded: Folded, codebooks: Tensor) -> tuple[Tensor, Tensor]:
    """Codes [N, Q], int64, and which rows [N] (bool) are not certain."""
    _allow_descriptors(x)
    (N, _), (Q, K, d) = x.shape, codebooks.shape
    inputs = torch.addmm(folded.bias, x.double(), folded.weight.T)
    tables = torch.bmm(codebooks.double(), folded.cross)
    width = max(16, triton.next_power_of_2(d))
    unit = torch.nn.functional.pad(folded.unit, (0, width - d)).contiguous()
    slope, _ = error_factors(folded.unit, folded.unit.new_zeros(Q, K), product_error(width))
    codes = torch.empty((N, Q), dtype=torch.int64, device=x.device)
    doubtful = torch.empty(N, dtype=torch.int8, device=x.device)
    factorised_kernel[(triton.cdiv(N, OPTIONS["BN"]),)](
        inputs, tables, unit, *split3(unit), slope.contiguous(), codes, doubtful, N, Q, K,
        d=d, QP=triton.next_power_of_2(Q), W=width, INTERP=INTERPRETED, **OPTIONS,
    )  # fmt: skip
    return codes, doubtful.bool()


def split3(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Three bfloat16 parts of float32 values."""
    high = values.bfloat16()
    middle = (values - high.float()).bfloat16()
    return high, middle, (values - high.float() - middle.float()).bfloat16()


@triton.jit
def factorised_kernel(
    p_ptr, table_ptr, unit_ptr, high_ptr, middle_ptr, low_ptr, slope_ptr, code_ptr, doubt_ptr, N, Q, K,
    d: tl.constexpr, QP: tl.constexpr, W: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, INTERP: tl.constexpr,
):  # fmt: skip
    """All stages for BN rows. Inputs [N, Q * d] and tables [Q, K, Q * d] are float64; unit codes [Q * K, W] float32, W >= d."""
    high_desc = tl.make_tensor_descriptor(high_ptr, [Q * K, W], [W, 1], [BK, W])
    middle_desc = tl.make_tensor_descriptor(middle_ptr, [Q * K, W], [W, 1], [BK, W])
    low_desc = tl.make_tensor_descriptor(low_ptr, [Q * K, W], [W, 1], [BK, W])
    rows = tl.program_id(0) * BN + tl.arange(0, BN)
    inside = rows < N
    slot = tl.arange(0, BK)
    e = tl.arange(0, W)
    stage = tl.arange(0, QP)
    mask = inside[:, None] & (e < d)[None, :]
    chosen = tl.zeros((BN, QP), tl.int32)
    doubt = tl.zeros((BN,), tl.int32)
    for q in range(0, Q):
        z = tl.load(p_ptr + rows[:, None].to(tl.int64) * (Q * d) + q * d + e[None, :], mask=mask, other=0.0)
        for j in range(0, q):
            before = tl.sum(tl.where(stage[None, :] == j, chosen, 0), axis=1)
            z -= tl.load(
                table_ptr + (j * K + before)[:, None].to(tl.int64) * (Q * d) + q * d + e[None, :], mask=mask, other=0.0
            )
        v = z.to(tl.float32)
        v_high = v.to(tl.bfloat16)
        v_middle = (v - v_high.to(tl.float32)).to(tl.bfloat16)
        v_low = (v - v_high.to(tl.float32) - v_middle.to(tl.float32)).to(tl.bfloat16)
        best = tl.full((BN,), float("-inf"), tl.float32)
        second_best = tl.full((BN,), float("-inf"), tl.float32)
        third_best = tl.full((BN,), float("-inf"), tl.float32)
        first = tl.zeros((BN,), tl.int32)
        second = tl.zeros((BN,), tl.int32)
        for k0 in range(0, K, BK):
            high = high_desc.load([q * K + k0, 0])
            middle = middle_desc.load([q * K + k0, 0])
            low = low_desc.load([q * K + k0, 0])
            if INTERP:
                s = tl.dot(v, (high.to(tl.float32) + middle.to(tl.float32) + low.to(tl.float32)).T)
            else:
                s = tl.dot(v_middle, middle.T)
                s = tl.dot(v_high, low.T, s)
                s = tl.dot(v_low, high.T, s)
                s = tl.dot(v_high, middle.T, s)
                s = tl.dot(v_middle, high.T, s)
                s = tl.dot(v_high, high.T, s)
            s = tl.where((k0 + slot < K)[None, :], s, float("-inf"))
            best, first, second_best, second, third_best = top3(s, slot, k0, best, first, second_best, second, third_best)
        first = tl.minimum(first, K - 1)
        second = tl.minimum(second, K - 1)
        bound = 1.001 * tl.sqrt(tl.sum(v * v, axis=1)) * tl.load(slope_ptr + q)
        doubt = tl.where((best - third_best > bound) == 0, 1, doubt)
        a = tl.load(unit_ptr + (q * K + first)[:, None].to(tl.int64) * W + e[None, :]).to(tl.float64)
        b = tl.load(unit_ptr + (q * K + second)[:, None].to(tl.int64) * W + e[None, :]).to(tl.float64)
        lead = tl.sum((a - b) * z, axis=1)
        close = best - second_best <= bound
        first = tl.where(close & ((lead < 0) | ((lead == 0) & (second < first))), second, first)
        tl.store(code_ptr + rows.to(tl.int64) * Q + q, first.to(tl.int64), mask=inside)
        chosen = tl.where(stage[None, :] == q, first[:, None], chosen)
    tl.store(doubt_ptr + rows, doubt.to(tl.int8), mask=inside)
