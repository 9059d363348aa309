"""Factorised residual quantization: each stage searches by cosine in a few dimensions, with codes learned by gradient.

Source: Yu et al., "Vector-Quantized Image Modeling with Improved VQGAN", 2021, section 3.2 (factorised codes, cosine search);
Kumar et al., "High-Fidelity Audio Compression with Improved RVQGAN" (DAC), 2023, section 3.2; one stage of it is BigCodec's
quantizer.
"""

import torch
from torch import Tensor, nn

from ..kernels.factorised import Projections, cosine_code, factorised_encode
from .base import Quantized, Quantizer, from_rows, in_use, mean_squared, to_rows
from .gradients import gradient_named


class FactorisedVQ(nn.Module):
    """One stage on rows [N, dim]: project to `code_dim`, take the code of greatest cosine, project back."""

    def __init__(self, dim: int, size: int, code_dim: int, gradient: str = "straight_through") -> None:
        super().__init__()
        self.enter = nn.Linear(dim, code_dim)
        self.leave = nn.Linear(code_dim, dim)
        self.codebook = nn.Parameter(torch.randn(size, code_dim))
        self.through = gradient_named(gradient)

    def forward(self, rows: Tensor, on: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Output [N, dim], codes [N], commitment and codebook losses over the rows that are on."""
        inside = self.enter(rows)
        code = cosine_code(inside, self.codebook)
        chosen = self.codebook[code]
        commitment = mean_squared(inside, chosen.detach(), on)
        learning = mean_squared(chosen, inside.detach(), on)
        return self.leave(self.through(inside, chosen)), code, commitment, learning


class ResidualFactorisedVQ(Quantizer):
    """A chain of `FactorisedVQ`: EnCodec's residual quantizer with DAC's stages.

    Args:
        dim: of the latents.
        size: codes per codebook.
        depth: stages.
        code_dim: dimensions in which codes are searched.
        gradient: "straight_through" or "rotation", within each stage.
        upstream_compat: let gradients run through the residual, as DAC's published code does: the straight-through of one
            stage is subtracted from the input of the next.
    """

    def __init__(
        self,
        dim: int,
        size: int,
        depth: int,
        code_dim: int = 8,
        gradient: str = "straight_through",
        upstream_compat: bool = False,
    ) -> None:
        super().__init__()
        self.dim, self.upstream_compat = dim, upstream_compat
        self.stages = nn.ModuleList(FactorisedVQ(dim, size, code_dim, gradient) for _ in range(depth))

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(stage.codebook.shape[0] for stage in self._stages())

    def encode(self, latents: Tensor, depth: int | None = None) -> Tensor:
        stages = self._stages()[:depth]
        projections = Projections(
            *(
                torch.stack([stage.get_parameter(name) for stage in stages])
                for name in ("enter.weight", "enter.bias", "leave.weight", "leave.bias")
            )
        )
        codebooks = torch.stack([stage.codebook for stage in stages])
        return from_rows(factorised_encode(to_rows(latents, self.dim), projections, codebooks), latents.shape[0])

    def decode(self, codes: Tensor) -> Tensor:
        parts = [stage.leave(stage.codebook[code]) for stage, code in zip(self._stages(), codes.unbind(1), strict=False)]
        return torch.stack(parts).sum(0).transpose(1, 2)

    def forward(self, latents: Tensor, depths: Tensor | None = None) -> Quantized:
        batch, _, frames = latents.shape
        rows = to_rows(latents, self.dim)
        on = in_use(depths, self.depth, batch, frames, rows.device)
        total, residual, codes, commitments, learnings = torch.zeros_like(rows), rows, [], [], []
        for stage, active in zip(self._stages(), on, strict=True):
            out, code, commitment, learning = stage(residual, active)
            total = total + out * active[:, None]
            residual = residual - (out if self.upstream_compat else out.detach())
            codes.append(code)
            commitments.append(commitment)
            learnings.append(learning)
        codes = from_rows(torch.stack(codes, 1), batch)
        commitment, learning = torch.stack(commitments).mean(), torch.stack(learnings).mean()
        return self._quantized(from_rows(total, batch), codes, commitment, codebook=learning)

    def _stages(self) -> list[FactorisedVQ]:
        return list(self.stages)  # type: ignore[arg-type]
