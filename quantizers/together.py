"""Residual codebooks that learn together: codes chosen by a beam, and each code drawn by what all codes of a row leave.

Choosing and learning stage by stage is blind to the stages after: what one code leaves, a later one may mend or make worse.
Source: Babenko and Lempitsky, "Additive Quantization for Extreme Vector Compression", 2014, section 3.
"""

import torch
from torch import Tensor

from ..kernels.beam import SHORTER, beam_encode
from ..kernels.nearest import rvq_encode


def codes_together(rows: Tensor, on: Tensor, codebooks: Tensor, half: Tensor, width: int) -> Tensor:
    """Return codes int64 [N, depth] of rows [N, dim] under codebooks [depth, size, dim], by a beam over the stages in use.

    Args:
        rows: [N, dim].
        on: bool [depth, N], stages in use of each row, the first so many; the codes of the others are the nearest, as
            ever, of what is left.
        codebooks: [depth, size, dim].
        half: half the squared norms of the codes [depth, size].
        width: of the beam.
    """
    depths = on.sum(0)
    codes = depths.new_empty(len(rows), len(codebooks))
    for depth in depths.unique().tolist():
        mine = depths == depth
        first = beam_encode(rows[mine], codebooks[:depth], width, half[:depth])
        left = rows[mine] - vectors_of(first, codebooks[:depth]).sum(0)
        codes[mine] = torch.cat([first, rvq_encode(left, codebooks[depth:], half[depth:])], dim=1)
    return codes


def vectors_of(codes: Tensor, codebooks: Tensor) -> Tensor:
    """Return the vectors [depth, N, dim] of codes [N, depth]."""
    return codebooks[torch.arange(len(codebooks), device=codes.device)[:, None], codes.T]


def shared_targets(rows: Tensor, chosen: Tensor, on: Tensor) -> Tensor:
    """Return what draws each stage's codes [depth, N, dim]: themselves, and the mean of what the stages from theirs on leave.

    That mean is weighed as `beam_encode` weighs errors, so that a small step there makes what the beam makes small smaller.

    Args:
        rows: [N, dim].
        chosen: vectors of the codes [depth, N, dim], zero where a stage is not in use.
        on: bool [depth, N], stages in use of each row, the first so many; the targets of the others mean nothing.
    """
    left = rows - chosen.cumsum(0)
    last = on & ~torch.cat([on[1:], torch.zeros_like(on[:1])])
    shares = torch.where(last, 1.0, SHORTER).to(rows.dtype) * on
    drawn, weight = (_from_the_end(x) for x in (shares[..., None] * left, shares))
    return chosen + drawn / weight.clamp(min=SHORTER)[..., None]


def _from_the_end(values: Tensor) -> Tensor:
    """Return sums over each stage and those after it."""
    return values.flip(0).cumsum(0).flip(0)
