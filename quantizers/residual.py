"""Residual vector quantization: each codebook codes what the ones before it left, all learned by moving averages.

Source: Zeghidour et al., "SoundStream", 2021, section III-C; Defossez et al., "EnCodec", 2022, section 3.2.
"""

import torch
from torch import Tensor, nn

from ..kernels.beam import beam_encode
from .base import Quantized, from_rows, in_use, mean_squared, to_rows
from .ema import MovingCodebooks
from .gradients import gradient_named
from .together import codes_together, shared_targets, vectors_of

BEAM_SHARE = 0.5  # of the passes in training, where there is a beam


class ResidualVQ(MovingCodebooks):
    """Quantize latents with `depth` codebooks of `size` codes.

    Args:
        dim, size, depth, decay, revive_below, private: see `MovingCodebooks`.
        gradient: "straight_through" or "rotation", from the sum of the codes to the input.
        per_stage: pass the gradient through each stage to that stage's input, and add them, as vector-quantize-pytorch does.
        upstream_compat: do as EnCodec's published code: revival has no effect, and a stage's input is what the ones before
            it left *after* their straight-through, so that only the first stage's commitment reaches the encoder.

    Attributes:
        beam: choices that `encode` keeps at every stage (`beam_encode`); 1 takes the nearest code of each codebook in turn.
            With more, codes of fewer codebooks are no prefix of those of more. Saved models know nothing of it.
        training_beam: choices that half of all `forward` passes keep (1: none does), so that encoder, codebooks and decoder
            learn with codes of a beam, and do not forget the nearest ones; codebooks learn together in those passes.
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
        private: int = 0,
    ) -> None:
        super().__init__(dim, size, depth, decay, revive_below, upstream_compat, private)
        self.through = gradient_named(gradient)
        self.per_stage = per_stage or upstream_compat
        self.training_beam = 1

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
        found = self._stages_together(rows.detach(), on) if self._draws_beam() else None
        total, residual, codes, losses = torch.zeros_like(rows), rows, [], []
        for stage in range(self.depth):
            residual = self.seen(stage, residual)
            code, chosen = self._stage(stage, residual.detach(), on[stage]) if found is None else found[stage]
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

    def _draws_beam(self) -> bool:
        """Whether this pass has codes of a beam; drawn only where there is one, so that other runs draw what they ever did."""
        return self.training_beam > 1 and bool(torch.rand(()) < BEAM_SHARE)

    @torch.no_grad()
    def _stages_together(self, rows: Tensor, on: Tensor) -> list[tuple[Tensor, Tensor]]:
        """What `_stage` gives, of all stages at once; in training mode, the codebooks move afterwards."""
        codes = codes_together(rows, on, self.codebooks, self._current_half_norms(), self.training_beam)
        chosen = vectors_of(codes, self.codebooks) * on[..., None]
        for stage, target in enumerate(shared_targets(rows, chosen, on) if self.training else ()):
            self.update(stage, target[on[stage]], codes[on[stage], stage])
        return list(zip(codes.unbind(1), chosen, strict=True))
