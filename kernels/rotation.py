"""Rotation trick: the gradient of a code turns and scales as the code does against its input.

Source: Fifty et al., "Restructuring Vector Quantization with the Rotation Trick", 2024, section 4.2. With the directions
e = x / |x| and q = c / |c| and w = (e + q) / |e + q|, all held constant, the output is |c| / |x| (x - 2 w (w.x) + 2 q (e.x)).
"""

import torch
from torch import Tensor

from .launching import on_gpu

EPSILON = 1e-6


def rotate_reference(x: Tensor, code: Tensor) -> Tensor:
    """The definition of `rotate`, by automatic differentiation."""
    length, target = x.detach().norm(dim=-1, keepdim=True), code.detach().norm(dim=-1, keepdim=True)
    e, q = x.detach() / length.clamp(min=EPSILON), code.detach() / target.clamp(min=EPSILON)
    w = e + q
    w = w / w.norm(dim=-1, keepdim=True).clamp(min=EPSILON)
    turned = x - 2 * w * (w * x).sum(-1, keepdim=True) + 2 * q * (e * x).sum(-1, keepdim=True)
    return turned * (target.clamp(min=EPSILON) / length.clamp(min=EPSILON))


def rotation_backward_reference(x: Tensor, code: Tensor, gradient: Tensor) -> Tensor:
    """Gradient [N, D] of the rotation's input x, of the output's; the map is linear, so this is its transpose."""
    length, target = (v.norm(dim=-1, keepdim=True).clamp(min=EPSILON) for v in (x, code))
    e, q = x / length, code / target
    w = e + q
    w = w / w.norm(dim=-1, keepdim=True).clamp(min=EPSILON)
    turned = gradient - 2 * w * (w * gradient).sum(-1, keepdim=True) + 2 * e * (q * gradient).sum(-1, keepdim=True)
    return turned * (target / length)


@torch.library.custom_op("toneme::rotation_backward", mutates_args=())
def _rotation_backward(x: Tensor, code: Tensor, gradient: Tensor) -> Tensor:
    if on_gpu(x) and x.dtype != torch.float64:
        from .rotation_triton import rotation_backward

        return rotation_backward(x, code, gradient)
    return rotation_backward_reference(x, code, gradient)


@_rotation_backward.register_fake
def _(x: Tensor, code: Tensor, gradient: Tensor) -> Tensor:
    return torch.empty_like(gradient)


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, code: Tensor) -> Tensor:
        ctx.save_for_backward(x, code)
        return code.clone()

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor, None]:
        x, code = ctx.saved_tensors
        return _rotation_backward(x, code, gradients[0].contiguous()), None


def rotate(x: Tensor, code: Tensor) -> Tensor:
    """Return `code` [N, D] itself, with the rotation's gradient to x [N, D]; none reaches the code."""
    return _Rotate.apply(x, code.detach())
