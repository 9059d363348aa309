"""Nearest code: for each vector, the index of the closest codebook vector, exactly.

The score of code c for vector x is <x, c> - |c|^2 / 2; its greatest value is the smallest euclidean distance, and |x|^2
never enters. Codes equal those of 64-bit arithmetic over the given 32-bit values, whatever the device, the batch or the number
of threads; where 64 bits cannot tell two codes apart the lowest index wins.
"""

import torch
from torch import Tensor

from . import chunked, fused
from .errors import ShapeError
from .launching import on_gpu
from .rescan import exact_code, rescan


def half_norms(codebook: Tensor) -> Tensor:
    """Return |c|^2 / 2 of each code, [..., K, D] to [..., K]; keep it where a codebook is searched often.

    Those of half precision are in 32 bits: rounded to 8 or 11 bits they would choose other codes.
    """
    wide = codebook.float() if codebook.dtype in (torch.float16, torch.bfloat16) else codebook
    return torch.linalg.vector_norm(wide, dim=-1).square_().mul_(0.5)


def nearest_code_reference(x: Tensor, codebook: Tensor) -> Tensor:
    """The definition of `nearest_code` in 64 bits: plain, slow, and [N, K] in memory."""
    return exact_code(x, codebook)


def rvq_encode_reference(x: Tensor, codebooks: Tensor) -> Tensor:
    """The definition of `rvq_encode`: nearest code of what is left, then subtract it."""
    codes = []
    for codebook in codebooks:
        codes.append(nearest_code_reference(x, codebook))
        x = x - codebook[codes[-1]]
    return torch.stack(codes, dim=1)


def nearest_code(x: Tensor, codebook: Tensor, half_norms: Tensor | None = None) -> Tensor:
    """Return the index of the nearest code for each row.

    Args:
        x: [N, D], float; searched in float32.
        codebook: [K, D], float.
        half_norms: [K], `half_norms(codebook)` if it is known; zeros search for the greatest product <x, c>, which is the
            greatest cosine where the codes are normalised.

    Returns:
        [N], int64.

    Raises:
        ShapeError: if the two do not share D or are not matrices.
    """
    if x.dim() != 2 or codebook.dim() != 2 or x.shape[1] != codebook.shape[1]:
        raise ShapeError(f"nearest_code takes x [N, D] and codebook [K, D]; got {list(x.shape)} and {list(codebook.shape)}")
    return rvq_encode(x, codebook[None], None if half_norms is None else half_norms[None])[:, 0]


def rvq_encode(x: Tensor, codebooks: Tensor, half_norms: Tensor | None = None) -> Tensor:
    """Code x with a chain of codebooks, each on what the ones before it left; residuals are float32.

    Args:
        x: [N, D], float.
        codebooks: [Q, K, D], float.
        half_norms: [Q, K], `half_norms(codebooks)` if it is known.

    Returns:
        [N, Q], int64.

    Raises:
        ShapeError: if the two do not share D, have no codes, or their number of dimensions is another one, if half norms are
            not one for each code, or if the tensors are on several devices.
    """
    if x.dim() != 2 or codebooks.dim() != 3 or x.shape[1] != codebooks.shape[2]:
        raise ShapeError(f"rvq_encode takes x [N, D] and codebooks [Q, K, D]; got {list(x.shape)} and {list(codebooks.shape)}")
    if codebooks.shape[1] == 0:
        raise ShapeError(f"a codebook has at least one code; got codebooks {list(codebooks.shape)}")
    _check_place(x, codebooks, half_norms)
    x, codebooks = x.detach().float(), codebooks.detach().float()
    half = _half_norms(codebooks) if half_norms is None else half_norms.detach().float()
    # The first call of a custom operator imports a thousand modules of torch (3 s), so only the compiler gets to see it.
    return _rvq_encode(x, codebooks, half) if torch.compiler.is_compiling() else _search(x, codebooks, half)


def _check_place(x: Tensor, codebooks: Tensor, half_norms: Tensor | None) -> None:
    """Refuse what the kernels, which are given addresses, would read beyond its end, or from another device's memory."""
    if half_norms is not None and half_norms.shape != codebooks.shape[:2]:
        raise ShapeError(f"half norms are one for each code, {list(codebooks.shape[:2])}; got {list(half_norms.shape)}")
    others = [t.device for t in (codebooks, half_norms) if t is not None and t.device != x.device]
    if others:
        raise ShapeError(f"codebooks and half norms must be on the device of x, {x.device}; got {others[0]}: move them there")


_half_norms = half_norms  # the argument of the two functions above has the same name


def _search(x: Tensor, codebooks: Tensor, half_norms: Tensor) -> Tensor:
    if x.shape[0] == 0 or codebooks.shape[0] == 0:
        return _uncoded(x, codebooks)
    x, codebooks, half_norms = x.contiguous(), codebooks.contiguous(), half_norms.contiguous()
    if on_gpu(x):
        from . import nearest_triton

        return nearest_triton.encode(x, codebooks, half_norms)
    if x.device.type == "cpu":
        return (fused if fused.takes(x.shape[1]) else chunked).encode(x, codebooks, half_norms)
    everything = torch.ones(x.shape[0], dtype=torch.bool, device=x.device)
    return rescan(x, codebooks, half_norms, _uncoded(x, codebooks), everything)


_rvq_encode = torch.library.custom_op("toneme::rvq_encode", _search, mutates_args=())


@_rvq_encode.register_fake
def _(x: Tensor, codebooks: Tensor, half_norms: Tensor) -> Tensor:
    return _uncoded(x, codebooks)


def _uncoded(x: Tensor, codebooks: Tensor) -> Tensor:
    """Room for codes [N, Q], in memory stage after stage."""
    return x.new_empty((codebooks.shape[0], x.shape[0]), dtype=torch.int64).T
