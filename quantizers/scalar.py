"""Finite scalar quantization: each dimension is bounded and rounded to a few levels; a code is their mixed-radix number.

Sources: Mentzer et al., "Finite Scalar Quantization: VQ-VAE Made Simple", 2023, section 3.1 and appendix A.1; symmetric levels
and the residual chain: Parker et al., "Scaling Transformers for Low-Bitrate High-Quality Speech Coding", 2024, section 3.2.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .base import Quantized, Quantizer, from_rows, in_use, to_rows
from .gradients import straight_through

MARGIN = 1e-3  # keeps tanh away from the edge of the outermost levels


class FSQ(Quantizer):
    """One code per frame, of prod(levels) values.

    Args:
        levels: number of levels of each dimension, for example (8, 5, 5, 5).
        dim: of the latents; where it is not len(levels), linear projections lead in and out.
        symmetric: levels at equal distance from -1 to 1 for even numbers too, so that -z has the code of -z's levels.
        double_bound: bound what was bounded once more before rounding, as vector-quantize-pytorch 1.17's residual FSQ does.
    """

    levels: Tensor
    basis: Tensor

    def __init__(
        self, levels: Sequence[int], dim: int | None = None, symmetric: bool = False, double_bound: bool = False
    ) -> None:
        super().__init__()
        self.dim, self.symmetric, self._size = dim or len(levels), symmetric, math.prod(levels)
        self.double_bound = double_bound
        projected = self.dim != len(levels)
        self.enter = nn.Linear(self.dim, len(levels)) if projected else nn.Identity()
        self.leave = nn.Linear(len(levels), self.dim) if projected else nn.Identity()
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        self.register_buffer("basis", torch.tensor([math.prod(levels[:i]) for i in range(len(levels))]), persistent=False)

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self._size,)

    def bound(self, z: Tensor) -> Tensor:
        """Rows [N, len(levels)] on the scale of level numbers 0 to levels - 1, before rounding."""
        once = self._bound_once(z)
        return self._bound_once(once - self.levels // 2) if self.double_bound else once

    def _bound_once(self, z: Tensor) -> Tensor:
        top = (self.levels - 1).to(z.dtype)
        if self.symmetric:
            return (z.tanh() + 1) / 2 * top
        half, offset = top * (1 + MARGIN) / 2, torch.where(self.levels % 2 == 0, 0.5, 0.0).to(z.dtype)
        return (z + (offset / half).atanh()).tanh() * half - offset + self.levels // 2

    def round(self, bounded: Tensor) -> Tensor:
        """Level numbers, whole."""
        whole = (bounded + 0.5).floor() if self.symmetric else (bounded - self.levels // 2).round() + self.levels // 2
        return whole.clamp(min=0).minimum((self.levels - 1).to(whole.dtype))

    def values(self, numbers: Tensor) -> Tensor:
        """Values in [-1, 1] of level numbers [..., len(levels)]."""
        if self.symmetric:
            return numbers * (2 / (self.levels - 1)) - 1
        half = self.levels // 2
        return (numbers - half) / half

    def pack(self, numbers: Tensor) -> Tensor:
        """Codes int64 [...] of level numbers [..., len(levels)]."""
        return (numbers.long() * self.basis).sum(-1)

    def unpack(self, codes: Tensor) -> Tensor:
        """Level numbers [..., len(levels)] of codes [...]."""
        return codes[..., None] // self.basis % self.levels

    def encode(self, latents: Tensor, depth: int | None = None) -> Tensor:
        numbers = self.round(self.bound(self.enter(to_rows(latents, self.dim))))
        return from_rows(self.pack(numbers)[:, None], latents.shape[0])

    def decode(self, codes: Tensor) -> Tensor:
        weight = next(self.parameters(), None)
        values = self.values(self.unpack(codes[:, 0]))
        return self.leave(values if weight is None else values.to(weight.dtype)).transpose(1, 2)

    def forward(self, latents: Tensor, depths: Tensor | None = None) -> Quantized:
        bounded = self.bound(self.enter(to_rows(latents, self.dim)))
        numbers = self.round(bounded)
        out = self.leave(self.values(straight_through(bounded, numbers)).to(bounded.dtype))
        codes = from_rows(self.pack(numbers)[:, None], latents.shape[0])
        return self._quantized(from_rows(out, latents.shape[0]), codes, latents.new_zeros(()))


class ResidualFSQ(Quantizer):
    """A chain of symmetric FSQ stages, each on what is left, with steps finer by the number of levels.

    Args:
        levels: of each dimension, the same in each stage.
        depth: stages.
        dim: of the latents; where it is not len(levels), linear projections lead in and out.
        per_stage: pass the gradient through each stage to that stage's input, and add them, as vector-quantize-pytorch does.
    """

    def __init__(self, levels: Sequence[int], depth: int, dim: int | None = None, per_stage: bool = False) -> None:
        super().__init__()
        self.per_stage = per_stage
        self.stage = FSQ(levels, symmetric=True)
        self.dim, self._depth = dim or len(levels), depth
        projected = self.dim != len(levels)
        self.enter = nn.Linear(self.dim, len(levels)) if projected else nn.Identity()
        self.leave = nn.Linear(len(levels), self.dim) if projected else nn.Identity()

    @property
    def sizes(self) -> tuple[int, ...]:
        return self.stage.sizes * self._depth

    def encode(self, latents: Tensor, depth: int | None = None) -> Tensor:
        residual, codes = self._bounded(to_rows(latents, self.dim)), []
        for stage in range(self._depth if depth is None else depth):
            numbers = self.stage.round(self._inside(residual, stage))
            residual = residual - self.stage.values(numbers) * self._scale(stage)
            codes.append(self.stage.pack(numbers))
        return from_rows(torch.stack(codes, 1), latents.shape[0])

    def decode(self, codes: Tensor) -> Tensor:
        values = [self.stage.values(self.stage.unpack(code)) * self._scale(i) for i, code in enumerate(codes.unbind(1))]
        return self._left(torch.stack(values).sum(0)).transpose(1, 2)

    def forward(self, latents: Tensor, depths: Tensor | None = None) -> Quantized:
        batch, _, frames = latents.shape
        rows = self._bounded(to_rows(latents, self.dim))
        on = in_use(depths, self._depth, batch, frames, rows.device)
        total, residual, codes = torch.zeros_like(rows), rows, []
        for stage in range(self._depth):
            inside = self._inside(residual, stage)
            numbers = self.stage.round(inside)
            out = self.stage.values(straight_through(inside, numbers)) * self._scale(stage) * on[stage][:, None]
            total, residual = total + out, residual - out.detach()
            codes.append(self.stage.pack(numbers))
        out = self._left(total if self.per_stage else straight_through(rows, total))
        return self._quantized(from_rows(out, batch), from_rows(torch.stack(codes, 1), batch), latents.new_zeros(()))

    def _bounded(self, rows: Tensor) -> Tensor:
        """Rows softly clamped to just outside [-1, 1], so that the outermost levels can be reached."""
        edge = 1 + 1 / (self.stage.levels - 1)
        return (self.enter(rows) / edge).tanh() * edge

    def _left(self, values: Tensor) -> Tensor:
        weight = next(self.parameters(), None)
        return self.leave(values if weight is None else values.to(weight.dtype))

    def _scale(self, stage: int) -> Tensor:
        return self.stage.levels.float() ** -stage

    def _inside(self, residual: Tensor, stage: int) -> Tensor:
        """The residual on the scale of level numbers, before rounding."""
        return ((residual / self._scale(stage)).clamp(-1, 1) + 1) / 2 * (self.stage.levels - 1)
