"""Snake and SnakeBeta on a GPU, one pass each way; `snake.py` has the formula.

The library's sine keeps a slow path for huge arguments, whose table spills to memory. Here the argument is reduced by multiples
of pi in three parts, good to 32-bit rounding up to some ten thousand radians; sine and cosine are their Taylor polynomials.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .launching import on_device_of_first
from .snake import EPSILON

BLOCK = 1024


@on_device_of_first
def forward(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """Snake of x [batch, channels, time], contiguous."""
    batch, channels, time = x.shape
    y = torch.empty_like(x)
    if x.numel():
        grid = (batch * channels * triton.cdiv(time, BLOCK),)  # one axis: another takes 65,535 blocks, 25 minutes at 44.1 kHz
        forward_kernel[grid](x, alpha.contiguous(), beta.contiguous(), y, channels, time, EPS=EPSILON, BLOCK=BLOCK)
    return y


@on_device_of_first
def backward(x: Tensor, alpha: Tensor, beta: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, alpha and beta."""
    batch, channels, time = x.shape
    dx = torch.empty_like(x)
    sums = torch.zeros((2, batch, channels), dtype=torch.float32, device=x.device)
    if x.numel():
        backward_kernel[(batch * channels,)](
            x, alpha.contiguous(), beta.contiguous(), gradient, dx, sums[0], sums[1], channels, time, EPS=EPSILON, BLOCK=BLOCK
        )
    return dx, sums[0].sum(0).to(alpha.dtype), sums[1].sum(0).to(beta.dtype)


@triton.jit
def sine_cosine(v):
    """Sine and cosine of v less the nearest multiple of pi: right in their squares and their product."""
    ROUND: tl.constexpr = 12582912.0  # 1.5 * 2^23: adding it rounds to a whole number
    k = (v * 0.3183098861837907 + ROUND) - ROUND
    r = v - k * 3.140625
    r = r - k * 9.67502593994140625e-4
    r = r - k * 1.5099579909783764e-7
    r = tl.minimum(tl.maximum(r, -1.6), 1.6)
    q = r * r
    s = -2.505210838544172e-8
    s = s * q + 2.7557319223985893e-6
    s = s * q - 1.984126984126984e-4
    s = s * q + 8.333333333333333e-3
    s = s * q - 0.16666666666666666
    c = 2.08767569878681e-9
    c = c * q - 2.755731922398589e-7
    c = c * q + 2.48015873015873e-5
    c = c * q - 1.388888888888889e-3
    c = c * q + 4.1666666666666664e-2
    c = c * q - 0.5
    return r + r * q * s, 1.0 + q * c


@triton.jit
def forward_kernel(x_ptr, alpha_ptr, beta_ptr, y_ptr, channels, time, EPS: tl.constexpr, BLOCK: tl.constexpr):
    blocks = tl.cdiv(time, BLOCK)
    row = (tl.program_id(0) // blocks).to(tl.int64)  # one row is one (batch, channel)
    t = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    mask = t < time
    alpha = tl.load(alpha_ptr + row % channels).to(tl.float32)
    beta = tl.load(beta_ptr + row % channels).to(tl.float32) + EPS
    x = tl.load(x_ptr + row * time + t, mask=mask, other=0.0).to(tl.float32)
    s, _ = sine_cosine(alpha * x)
    tl.store(y_ptr + row * time + t, (x + s * s / beta).to(y_ptr.dtype.element_ty), mask=mask)


@triton.jit
def backward_kernel(
    x_ptr, alpha_ptr, beta_ptr, g_ptr, dx_ptr, dalpha_ptr, dbeta_ptr, channels, time, EPS: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """One program walks a whole row, so that the sums over time need no atomics and repeat bit for bit."""
    row = tl.program_id(0).to(tl.int64)
    alpha = tl.load(alpha_ptr + row % channels).to(tl.float32)
    beta = tl.load(beta_ptr + row % channels).to(tl.float32) + EPS
    dalpha = tl.zeros((BLOCK,), tl.float32)
    dbeta = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, time, BLOCK):
        t = start + tl.arange(0, BLOCK)
        mask = t < time
        x = tl.load(x_ptr + row * time + t, mask=mask, other=0.0).to(tl.float32)
        g = tl.load(g_ptr + row * time + t, mask=mask, other=0.0).to(tl.float32)
        s, c = sine_cosine(alpha * x)
        double = 2 * s * c
        tl.store(dx_ptr + row * time + t, (g * (1 + alpha * double / beta)).to(dx_ptr.dtype.element_ty), mask=mask)
        dalpha += g * x * double / beta
        dbeta -= g * s * s / (beta * beta)
    tl.store(dalpha_ptr + row, tl.sum(dalpha))
    tl.store(dbeta_ptr + row, tl.sum(dbeta))
