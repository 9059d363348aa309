"""The rotation trick's backward pass in one sweep over the rows; `rotation.py` has the formula."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .launching import on_device_of_first
from .rotation import EPSILON


@on_device_of_first
def rotation_backward(x: Tensor, code: Tensor, gradient: Tensor) -> Tensor:
    """Gradient [N, D] to x, of the gradient to the rotated output; contiguous inputs of one shape."""
    x, code = x.contiguous(), code.contiguous()
    out = torch.empty_like(x)
    N, D = x.shape
    rows = max(1, 2048 // triton.next_power_of_2(D))
    rotation_backward_kernel[(triton.cdiv(N, rows),)](
        x, code, gradient, out, N, D, EPS=EPSILON, BN=rows, BD=triton.next_power_of_2(D)
    )
    return out


@triton.jit
def rotation_backward_kernel(
    x_ptr, code_ptr, gradient_ptr, out_ptr, N, D, EPS: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr
):  # fmt: skip
    """BN rows [BN, BD] per program; BD >= D."""
    rows = tl.program_id(0).to(tl.int64) * BN + tl.arange(0, BN)
    cols = tl.arange(0, BD)
    mask = (rows < N)[:, None] & (cols < D)[None, :]
    at = rows[:, None] * D + cols[None, :]
    x = tl.load(x_ptr + at, mask=mask, other=0.0).to(tl.float32)
    code = tl.load(code_ptr + at, mask=mask, other=0.0).to(tl.float32)
    g = tl.load(gradient_ptr + at, mask=mask, other=0.0).to(tl.float32)
    length = tl.maximum(tl.sqrt(tl.sum(x * x, axis=1)), EPS)
    target = tl.maximum(tl.sqrt(tl.sum(code * code, axis=1)), EPS)
    e = x / length[:, None]
    q = code / target[:, None]
    w = e + q
    w = w / tl.maximum(tl.sqrt(tl.sum(w * w, axis=1)), EPS)[:, None]
    turned = g - 2.0 * w * tl.sum(w * g, axis=1)[:, None] + 2.0 * e * tl.sum(q * g, axis=1)[:, None]
    tl.store(out_ptr + at, (turned * (target / length)[:, None]).to(out_ptr.dtype.element_ty), mask=mask)
