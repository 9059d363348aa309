"""Split residual quantization: one semantic codebook beside a residual chain, both on the same latents, each in its own space.

Source: Defossez et al., "Moshi", 2024, section 3.3.3 (Mimi): the semantic code is distilled from a speech model, and is not
followed by the residual chain, so that neither spoils the other.
"""

from typing import Any

import torch
from torch import Tensor, nn

from .base import Quantized, Quantizer
from .residual import ResidualVQ


class Branch(nn.Module):
    """A residual quantizer between two projections."""

    def __init__(self, dim: int, code_dim: int, size: int, depth: int, **options: Any) -> None:
        super().__init__()
        self.enter = nn.Conv1d(dim, code_dim, 1, bias=False)
        self.quantizer = ResidualVQ(code_dim, size, depth, **options)
        self.leave = nn.Conv1d(code_dim, dim, 1, bias=False)

    def encode(self, latents: Tensor, depth: int | None = None) -> Tensor:
        """Codes [batch, depth, frames]."""
        return self.quantizer.encode(self.enter(latents), depth)

    def decode(self, codes: Tensor) -> Tensor:
        """Latents [batch, dim, frames]."""
        return self.leave(self.quantizer.decode(codes))


class SplitResidualVQ(Quantizer):
    """`semantic` codebooks and `depth - semantic` acoustic ones, each branch with its projections; the two are added.

    Args:
        dim: of the latents.
        size: codes per codebook.
        depth: codebooks in all.
        semantic: how many of them, the first, are semantic.
        code_dim: of the codes.
        options: passed on to `ResidualVQ`.
    """

    def __init__(self, dim: int, size: int, depth: int, semantic: int = 1, code_dim: int = 256, **options: Any) -> None:
        super().__init__()
        self.first = semantic
        self.semantic = Branch(dim, code_dim, size, semantic, **options)
        self.acoustic = Branch(dim, code_dim, size, depth - semantic, **options)

    @property
    def sizes(self) -> tuple[int, ...]:
        return self.semantic.quantizer.sizes + self.acoustic.quantizer.sizes

    def encode(self, latents: Tensor, depth: int | None = None) -> Tensor:
        depth = self.depth if depth is None else depth
        codes = self.semantic.encode(latents, min(depth, self.first))
        if depth <= self.first:
            return codes
        return torch.cat([codes, self.acoustic.encode(latents, depth - self.first)], dim=1)

    def decode(self, codes: Tensor) -> Tensor:
        latents = self.semantic.decode(codes[:, : self.first])
        return latents if codes.shape[1] <= self.first else latents + self.acoustic.decode(codes[:, self.first :])

    def forward(self, latents: Tensor, depths: Tensor | None = None) -> Quantized:
        rest = None if depths is None else depths - self.first
        a = self.semantic.quantizer(self.semantic.enter(latents), depths)
        b = self.acoustic.quantizer(self.acoustic.enter(latents), rest)
        acoustic = self.acoustic.leave(b.latents)
        if rest is not None:
            acoustic = acoustic * (rest > 0).to(acoustic.device)[:, None, None]  # depths are drawn on the CPU
        out = self.semantic.leave(a.latents) + acoustic
        loss = (a.commitment * self.first + b.commitment * (self.depth - self.first)) / self.depth
        return self._quantized(out, torch.cat([a.codes, b.codes], 1), loss, usage=torch.cat([a.usage, b.usage]))
