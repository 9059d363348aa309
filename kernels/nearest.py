"""Nearest code: for each vector, the index of the closest codebook vector, exactly.

The score of code c for vector x is <x, c> - |c|^2 / 2; its greatest value is the smallest euclidean distance, and |x|^2
never enters. Codes equal those of 64-bit arithmetic over the given 32-bit values; where 64 bits cannot tell two codes
apart the lowest index wins.
"""

import torch
from torch import Tensor

from .errors import ShapeError

CHUNK_BYTES = 1 << 20  # scores of one chunk of rows: small enough to stay in the second-level cache


def half_norms(codebook: Tensor) -> Tensor:
    """Return |c|^2 / 2 of each code, summed in 64 bits: [..., K, D] to [..., K]."""
    return codebook.double().square().sum(-1).mul(0.5).to(codebook.dtype)


def nearest_code_reference(x: Tensor, codebook: Tensor) -> Tensor:
    """The definition of `nearest_code` in 64 bits: plain, slow, and [N, K] in memory."""
    x, codebook = x.double(), codebook.double()
    scores = x @ codebook.T - codebook.square().sum(-1) / 2
    best = scores.amax(1, keepdim=True)
    return torch.where(scores < best, codebook.shape[0], torch.arange(codebook.shape[0], device=x.device)).amin(1)


def rvq_encode_reference(x: Tensor, codebooks: Tensor) -> Tensor:
    """The definition of `rvq_encode`: nearest code of what is left, then subtract it."""
    codes = []
    for codebook in codebooks:
        codes.append(nearest_code_reference(x, codebook))
        x = x - codebook[codes[-1]]
    return torch.stack(codes, dim=1)


def nearest_code(x: Tensor, codebook: Tensor) -> Tensor:
    """Return the index of the nearest code for each row.

    Args:
        x: [N, D], float32.
        codebook: [K, D], float32.

    Returns:
        [N], int64.

    Raises:
        ShapeError: if the two do not share D or are not matrices.
    """
    if x.dim() != 2 or codebook.dim() != 2 or x.shape[1] != codebook.shape[1]:
        raise ShapeError(f"nearest_code takes x [N, D] and codebook [K, D]; got {list(x.shape)} and {list(codebook.shape)}")
    return rvq_encode(x, codebook[None])[:, 0]


def rvq_encode(x: Tensor, codebooks: Tensor) -> Tensor:
    """Code x with a chain of codebooks, each on what the ones before it left.

    Args:
        x: [N, D], float32.
        codebooks: [Q, K, D], float32.

    Returns:
        [N, Q], int64.

    Raises:
        ShapeError: if the two do not share D, or their number of dimensions is another one.
    """
    if x.dim() != 2 or codebooks.dim() != 3 or x.shape[1] != codebooks.shape[2]:
        raise ShapeError(f"rvq_encode takes x [N, D] and codebooks [Q, K, D]; got {list(x.shape)} and {list(codebooks.shape)}")
    rows = max(16, CHUNK_BYTES // (4 * codebooks.shape[1]))
    codebooks = codebooks.detach()
    bias = -half_norms(codebooks)
    codes = x.new_empty((x.shape[0], codebooks.shape[0]), dtype=torch.int64)
    scores = x.new_empty((min(rows, x.shape[0]), codebooks.shape[1]))
    for start in range(0, x.shape[0], rows):
        _encode_chunk(x.detach()[start : start + rows], codebooks, bias, scores, codes[start : start + rows])
    return codes


def _encode_chunk(residual: Tensor, codebooks: Tensor, bias: Tensor, scores: Tensor, codes: Tensor) -> None:
    scores = scores[: residual.shape[0]]
    for stage, codebook in enumerate(codebooks):
        chosen = torch.addmm(bias[stage], residual, codebook.T, out=scores).max(1).indices
        codes[:, stage] = chosen
        residual = residual - codebook[chosen]
