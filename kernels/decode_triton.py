"""Residual decode on a GPU: each output element adds its codes' elements in the order of the stages."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .launching import on_device_of_first


@on_device_of_first
def rvq_decode(codes: Tensor, codebooks: Tensor) -> Tensor:
    """Vectors [N, D] of codes int64 [N, depth] under codebooks [Q, K, D]."""
    N, depth = codes.shape
    _, K, D = codebooks.shape
    codes, codebooks = codes.contiguous(), codebooks.contiguous()
    out = torch.empty((N, D), dtype=codebooks.dtype, device=codebooks.device)
    if N:
        width = min(128, triton.next_power_of_2(D))
        decode_kernel[(triton.cdiv(N, 32), triton.cdiv(D, width))](codes, codebooks, out, N, depth, K, D, BN=32, BD=width)
    return out


@triton.jit
def decode_kernel(code_ptr, cb_ptr, out_ptr, N, depth, K, D, BN: tl.constexpr, BD: tl.constexpr):
    """BN rows and BD dimensions per program."""
    rows = tl.program_id(0).to(tl.int64) * BN + tl.arange(0, BN)
    cols = tl.program_id(1) * BD + tl.arange(0, BD)
    inside = rows < N
    mask = inside[:, None] & (cols < D)[None, :]
    total = tl.zeros((BN, BD), tl.float32)
    for q in range(0, depth):
        code = tl.load(code_ptr + rows * depth + q, mask=inside, other=-1)
        valid = mask & ((code >= 0) & (code < K))[:, None]
        total += tl.load(cb_ptr + (q * K + code)[:, None] * D + cols[None, :], mask=valid, other=0.0).to(tl.float32)
    tl.store(out_ptr + rows[:, None] * D + cols[None, :], total.to(out_ptr.dtype.element_ty), mask=mask)
