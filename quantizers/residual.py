"""Residual vector quantization with codebooks learned by moving averages.

Source: Zeghidour et al., "SoundStream", 2021, section III-C; Razavi et al., "VQ-VAE-2", 2019, appendix A (EMA update).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..kernels import rvq_encode


@dataclass(frozen=True)
class Quantized:
    """What the training pass over latents [batch, dim, frames] gives.

    Attributes:
        latents: [batch, dim, frames], the chosen codes' sum, gradient straight through to the input.
        codes: int64 [batch, depth, frames].
        commitment: scalar, mean squared distance from each stage's input to its code, over the stages in use.
        usage: [depth], share of each codebook that its moving average calls alive.
    """

    latents: Tensor
    codes: Tensor
    commitment: Tensor
    usage: Tensor


class ResidualVQ(nn.Module):
    """Quantize latents with `depth` codebooks, each coding what the ones before it left.

    Buffers: `codebooks` [depth, size, dim], `counts` [depth, size] and `sums` [depth, size, dim], the moving averages.
    """

    def __init__(self, dim: int, size: int, depth: int, decay: float = 0.99, revive_below: float = 0.1) -> None:
        super().__init__()
        self.decay = decay
        self.revive_below = revive_below  # share of the uniform count, so that it does not depend on the batch
        self.register_buffer("codebooks", torch.randn(depth, size, dim) * 0.1)
        self.register_buffer("counts", torch.ones(depth, size), persistent=False)
        self.register_buffer("sums", self.codebooks.clone(), persistent=False)

    @property
    def depth(self) -> int:
        """How many codebooks there are."""
        return self.codebooks.shape[0]

    def encode(self, latents: Tensor, depth: int | None = None) -> Tensor:
        """Return codes int64 [batch, depth, frames] of latents [batch, dim, frames]."""
        batch, dim, frames = latents.shape
        rows = latents.transpose(1, 2).reshape(-1, dim)
        codes = rvq_encode(rows, self.codebooks[:depth])
        return codes.view(batch, frames, codes.shape[1]).transpose(1, 2)

    def decode(self, codes: Tensor) -> Tensor:
        """Return latents [batch, dim, frames] of codes [batch, depth, frames]; fewer codebooks decode coarsely."""
        depth = codes.shape[1]
        size, dim = self.codebooks.shape[1:]
        offset = torch.arange(depth, device=codes.device)[:, None] * size
        table = self.codebooks[:depth].reshape(-1, dim)
        return nn.functional.embedding(codes + offset, table).sum(1).transpose(1, 2)

    def forward(self, latents: Tensor, depths: Tensor | None = None) -> Quantized:
        """Quantize for training and, in training mode, move the codebooks.

        Args:
            latents: [batch, dim, frames].
            depths: int64 [batch], codebooks in use of each item; all by default.
        """
        batch, dim, frames = latents.shape
        rows = latents.transpose(1, 2).reshape(-1, dim)
        limits = torch.full((batch,), self.depth, device=rows.device) if depths is None else depths
        limits = limits.repeat_interleave(frames)
        total, residual, codes, losses = torch.zeros_like(rows), rows, [], []
        for stage in range(self.depth):
            on = limits > stage
            chosen = rvq_encode(residual.detach(), self.codebooks[stage : stage + 1])[:, 0]
            quantized = nn.functional.embedding(chosen, self.codebooks[stage]) * on[:, None]
            losses.append((residual - quantized)[on].square().mean() if bool(on.any()) else rows.new_zeros(()))
            if self.training:
                self._update(stage, residual.detach()[on], chosen[on])
            total = total + quantized
            residual = residual - quantized.detach()
            codes.append(chosen)
        straight = rows + (total - rows).detach()
        return Quantized(
            straight.view(batch, frames, dim).transpose(1, 2),
            torch.stack(codes, 1).view(batch, frames, -1).transpose(1, 2),
            torch.stack(losses).mean(),
            (self.counts > self._floor()).float().mean(1),
        )

    @torch.no_grad()
    def start(self, rows: Tensor, iterations: int = 10) -> None:
        """Set all codebooks by k-means, stage after stage, on sample vectors [rows, dim], several per code."""
        residual = rows
        for stage in range(self.depth):
            centres = residual[torch.randint(len(residual), (self.codebooks.shape[1],), device=rows.device)].clone()
            for _ in range(iterations):
                nearest = rvq_encode(residual, centres[None])[:, 0]
                counts, sums = _statistics(nearest, residual, len(centres))
                centres = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], centres)
            counts, sums = _statistics(rvq_encode(residual, centres[None])[:, 0], residual, len(centres))
            self.codebooks[stage] = centres
            self.counts[stage] = counts.clamp(min=1)
            self.sums[stage] = centres * self.counts[stage][:, None]
            residual = residual - centres[rvq_encode(residual, centres[None])[:, 0]]

    def _floor(self) -> Tensor:
        return self.revive_below * self.counts.mean(1, keepdim=True)

    @torch.no_grad()
    def _update(self, stage: int, rows: Tensor, codes: Tensor) -> None:
        if not len(rows):
            return
        counts, sums = _statistics(codes, rows, self.codebooks.shape[1])
        self.counts[stage].lerp_(counts, 1 - self.decay)
        self.sums[stage].lerp_(sums, 1 - self.decay)
        dead = self.counts[stage] < self._floor()[stage]
        if bool(dead.any()):
            # a revived code gets the mean count, and sums to match: the next update must not pull it back to where it died
            fresh = rows[torch.randint(len(rows), (int(dead.sum()),), device=rows.device)]
            self.counts[stage, dead] = self.counts[stage].mean()
            self.sums[stage, dead] = fresh * self.counts[stage, dead][:, None]
        self.codebooks[stage] = self.sums[stage] / self.counts[stage][:, None]


def _statistics(codes: Tensor, rows: Tensor, size: int) -> tuple[Tensor, Tensor]:
    counts = torch.bincount(codes, minlength=size).to(rows.dtype)
    sums = rows.new_zeros(size, rows.shape[1]).index_add_(0, codes, rows)
    return counts, sums
