"""Codes in a graph: the residual search, and the table that turns codes back into latents.

The search is an operator of ours for each stage, whose kernel chooses as sums in 64 bits would. Its function is in 32 bits:
score <r, c> - |c|^2 / 2, the lowest index of the greatest; a code differs from that of `kernels.rvq_encode` only where the two
scores are closer than the rounding error of the products.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..kernels import half_norms
from ..kernels.rescan import error_factors
from .operators import nearest

SILENT = -1  # a code that stands for no vector: what pushes the last samples out of a decoder


class ResidualSearch(nn.Module):
    """Latents [batch, frames, dim] to codes int64 [batch, codebooks, frames]; codebooks [Q, K, dim].

    Each codebook is a constant of its own: one stack of them would be cut each time that a session is made.
    """

    def __init__(self, codebooks: Tensor) -> None:
        super().__init__()
        codebooks = codebooks.detach().float()
        norms = half_norms(codebooks)
        self.bounds = torch.cat(error_factors(codebooks, norms), dim=1).tolist()
        for stage, codebook in enumerate(codebooks):
            self.register_buffer(f"codebook{stage}", codebook.clone())
            self.register_buffer(f"bias{stage}", -norms[stage])

    def forward(self, latents: Tensor) -> Tensor:
        """Return the codes."""
        batch, frames, dim = latents.shape
        residual, codes = latents.reshape(-1, dim), []
        for stage, (slope, offset) in enumerate(self.bounds):
            codebook, bias = self.get_buffer(f"codebook{stage}"), self.get_buffer(f"bias{stage}")
            code, residual = nearest(residual, codebook, bias, slope, offset)
            codes.append(code)
        return torch.cat(codes).reshape(len(codes), batch, frames).transpose(0, 1)


class CodeRows(nn.Module):
    """Codes [batch, up to Q, frames] to their vectors side by side, [batch, frames, Q * dim]; silent codes give zeros."""

    table: Tensor

    def __init__(self, codebooks: Tensor) -> None:
        super().__init__()
        count, size, dim = codebooks.shape
        silent = codebooks.new_zeros(count, 1, dim)  # before each codebook, so that -1 needs no case of its own
        self.register_buffer("table", torch.cat([silent, codebooks], dim=1).flatten(0, 1).detach().float().clone())
        self.step = size + 1

    def look_up(self, codes: Tensor) -> Tensor:
        """Return the vectors [batch, up to Q, frames, dim]."""
        first = 1 + self.step * torch.arange(codes.shape[1], device=codes.device)
        return F.embedding(codes + first[:, None], self.table)

    def forward(self, codes: Tensor) -> Tensor:
        """Return the vectors of each frame, joined."""
        return self.look_up(codes).transpose(1, 2).flatten(2)


class CodeTable(CodeRows):
    """Codes [batch, up to Q, frames] to the sums of their vectors [batch, frames, dim]; silent codes add nothing."""

    def forward(self, codes: Tensor) -> Tensor:
        """Return the latents."""
        return self.look_up(codes).sum(1)
