"""Residual vector quantization: each codebook codes what the ones before it left, all learned by moving averages.

Source: Zeghidour et al., "SoundStream", 2021, section III-C; Defossez et al., "EnCodec", 2022, section 3.2.
"""

import torch
from torch import Tensor, nn

from ..kernels.beam import beam_encode
from .base import Quantized, from_rows, in_use, mean_squared, to_rows
from .ema import MovingCodebooks
from .gradients import gradient_named


class ResidualVQ(MovingCodebooks):
    """Quantize latents with `depth` codebooks of `size` codes.

    Args:
        dim, size, depth, decay, revive_below: see `MovingCodebooks`.
        gradient: "straight_through" or "rotation", from the sum of the codes to the input.
        per_stage: pass the gradient through each stage to that stage's input, and add them, as vector-quantize-pytorch does.
        upstream_compat: do as EnCodec's published code: revival has no effect, and a stage's input is what the ones before
            it left *after* their straight-through, so that only the first stage's commitment reaches the encoder.

    Attributes:
        beam: choices that `encode` keeps at every stage (`beam_encode`); 1 takes the nearest code of each codebook in turn.
            With more, codes of fewer codebooks are no prefix of those of more. Training and saved models know nothing of it.
    """

    beam = 1

    def __init__(
        self,
        dim: int,
        size: int,
        depth: int,
        decay: float = 0.99,
        revive_below: float = 0.1,
        gradient: str = "straight_through",
        per_stage: bool = False,
        upstream_compat: bool = False,
    ) -> None:
        super().__init__(dim, size, depth, decay, revive_below, upstream_compat)
        self.through = gradient_named(gradient)
        self.per_stage = per_stage or upstream_compat

    def encode(self, latents: Tensor, depth: int | None = None) -> Tensor:
        rows = to_rows(latents, self.dim)
        if self.beam == 1:
            return from_rows(self.search(rows, 0, depth), latents.shape[0])
        codes = beam_encode(rows, self.codebooks[:depth], self.beam, self._current_half_norms()[:depth])
        return from_rows(codes, latents.shape[0])

    def decode(self, codes: Tensor) -> Tensor:
        depth, size = codes.shape[1], self.codebooks.shape[1]
        offset = torch.arange(depth, device=codes.device)[:, None] * size
        table = self.codebooks[:depth].reshape(-1, self.dim)
        return nn.functional.embedding(codes + offset, table).sum(1).transpose(1, 2)

    def forward(self, latents: Tensor, depths: Tensor | None = None) -> Quantized:
        """Quantize for training and, in training mode, move the codebooks.

        Args:
            latents: [batch, dim, frames].
            depths: int64 [batch], codebooks in use of each item; all by default.
        """
        batch, _, frames = latents.shape
        rows = to_rows(latents, self.dim)
        on = in_use(depths, self.depth, batch, frames, rows.device)
        total, residual, codes, losses = torch.zeros_like(rows), rows, [], []
        for stage in range(self.depth):
            code, chosen = self._stage(stage, residual.detach(), on[stage])
            losses.append(mean_squared(residual, chosen, on[stage]))
            passed = self.through(residual, chosen) * on[stage][:, None] if self.per_stage else chosen
            residual = residual - (passed if self.upstream_compat else chosen)
            total = total + passed
            codes.append(code)
        out = total if self.per_stage else self.through(rows, total)
        codes = from_rows(torch.stack(codes, 1), batch)
        return self._quantized(from_rows(out, batch), codes, torch.stack(losses).mean(), usage=self.alive())

    def _stage(self, stage: int, residual: Tensor, on: Tensor) -> tuple[Tensor, Tensor]:
        """Codes [N] of one stage and their vectors [N, dim], zero where the stage is off; the codebook moves afterwards."""
        code = self.search(residual, stage, stage + 1)[:, 0]
        chosen = nn.functional.embedding(code, self.codebooks[stage]) * on[:, None]
        if self.training:
            self.update(stage, residual[on], code[on])
        return code, chosen
