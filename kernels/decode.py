"""Residual decode: the sum of the chosen codes of all stages, gathered in one pass.

Codes outside their codebook add nothing, so that a masked code (-1) is a stage left out.
"""

import torch
from torch import Tensor

from .errors import ShapeError
from .launching import on_gpu
from .statistics import code_statistics


def rvq_decode_reference(codes: Tensor, codebooks: Tensor) -> Tensor:
    """The definition of `rvq_decode`."""
    K = codebooks.shape[1]
    out = codebooks.new_zeros(codes.shape[0], codebooks.shape[2])
    for code, codebook in zip(codes.unbind(1), codebooks, strict=False):
        valid = (code >= 0) & (code < K)
        out = out + codebook[code.clamp(0, K - 1)] * valid[:, None]
    return out


def rvq_decode(codes: Tensor, codebooks: Tensor) -> Tensor:
    """Return vectors [N, D] of codes int64 [N, depth] under codebooks [Q, K, D], depth <= Q; differentiable in the codebooks.

    Raises:
        ShapeError: if there are more codes than codebooks, or the numbers of dimensions are others.
    """
    if codes.dim() != 2 or codebooks.dim() != 3 or codes.shape[1] > codebooks.shape[0]:
        raise ShapeError(
            f"rvq_decode takes codes [N, <= Q] and codebooks [Q, K, D]; got {[*codes.shape]} and {[*codebooks.shape]}"
        )
    return _rvq_decode(codes, codebooks)


@torch.library.custom_op("toneme::rvq_decode", mutates_args=())
def _rvq_decode(codes: Tensor, codebooks: Tensor) -> Tensor:
    if on_gpu(codebooks) and codebooks.dtype != torch.float64:  # the program adds in 32 bits
        from .decode_triton import rvq_decode as gathered

        return gathered(codes, codebooks)
    return rvq_decode_reference(codes, codebooks)


@_rvq_decode.register_fake
def _(codes: Tensor, codebooks: Tensor) -> Tensor:
    return codebooks.new_empty(codes.shape[0], codebooks.shape[2])


def _save(ctx, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0])
    ctx.shape = inputs[1].shape


def _backward(ctx, gradient: Tensor) -> tuple[None, Tensor]:
    (codes,) = ctx.saved_tensors
    Q, K, D = ctx.shape
    out = gradient.new_zeros(Q, K + 1, D)  # the last row takes what codes outside their codebook add
    for stage, code in enumerate(codes.unbind(1)):
        valid = (code >= 0) & (code < K)
        out[stage] = code_statistics(torch.where(valid, code, K), gradient, K + 1).float_sums(gradient.dtype)
    return None, out[:, :K]


_rvq_decode.register_autograd(_backward, setup_context=_save)
