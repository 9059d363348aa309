"""Lookup-free quantization: a code is the signs of its dimensions, on the corners of a cube (LFQ) or of a sphere (BSQ).

Sources: Yu et al., "Language Model Beats Diffusion: Tokenizer is Key to Visual Generation", 2023, section 3.2 (LFQ); Zhao,
Xiong and Krähenbühl, "Image and Video Tokenization with Binary Spherical Quantization", 2024, sections 3 and 4 (BSQ).

The entropy loss needs no table of 2^bits probabilities: given the input the bits are independent, so the entropy of each
input's code is the sum of the bits' entropies; the entropy over the batch is bounded by the same sum of the mean bits.
"""

import math

import torch
from torch import Tensor, nn

from .base import Quantized, Quantizer, from_rows, mean_squared, to_rows
from .gradients import straight_through

TABLE_BITS = 14  # up to here the entropy of the batch's codes is taken over all of them, exactly


class LFQ(Quantizer):
    """One code of `bits` bits per frame; bit i of the code, from the most significant, is the sign of dimension i.

    Args:
        bits: dimensions of the code.
        dim: of the latents; where it is not `bits`, linear projections lead in and out.
        spherical: BSQ: inputs and codes have length one.
        inverse_temperature: of the soft choice in the entropy loss.
        diversity: weight of the batch's entropy against that of each input.
    """

    mask: Tensor

    def __init__(
        self,
        bits: int,
        dim: int | None = None,
        spherical: bool = False,
        inverse_temperature: float = 100.0,
        diversity: float = 1.0,
    ) -> None:
        super().__init__()
        self.bits, self.dim, self.spherical = bits, dim or bits, spherical
        self.inverse_temperature, self.diversity = inverse_temperature, diversity
        self.enter = nn.Linear(self.dim, bits) if self.dim != bits else nn.Identity()
        self.leave = nn.Linear(bits, self.dim) if self.dim != bits else nn.Identity()
        self.register_buffer("mask", 1 << torch.arange(bits - 1, -1, -1), persistent=False)

    @property
    def sizes(self) -> tuple[int, ...]:
        return (1 << self.bits,)

    def encode(self, latents: Tensor, depth: int | None = None) -> Tensor:
        positive = self.enter(to_rows(latents, self.dim)) > 0
        return from_rows((positive * self.mask).sum(1, keepdim=True), latents.shape[0])

    def decode(self, codes: Tensor) -> Tensor:
        corners = self._corners((codes[:, 0, :, None] & self.mask) != 0)
        return self.leave(corners).transpose(1, 2)

    def forward(self, latents: Tensor, depths: Tensor | None = None) -> Quantized:
        batch = latents.shape[0]
        z = self.enter(to_rows(latents, self.dim))
        z = nn.functional.normalize(z, dim=1) if self.spherical else z
        chosen = self._corners(z > 0)
        everywhere = torch.ones(len(z), dtype=torch.bool, device=z.device)
        codes = from_rows(((z > 0) * self.mask).sum(1, keepdim=True), batch)
        out = from_rows(self.leave(straight_through(z, chosen)), batch)
        return self._quantized(out, codes, mean_squared(z, chosen, everywhere), entropy=self.entropy(z))

    def entropy(self, z: Tensor) -> Tensor:
        """Mean entropy of each row's soft code less `diversity` times that of the batch, in nats; z [N, bits]."""
        corner = self._corners(torch.ones((), dtype=torch.bool, device=z.device))
        logits = 4 * self.inverse_temperature * corner * z
        each = (nn.functional.softplus(logits) - logits * logits.sigmoid()).sum(1).mean()
        return each - self.diversity * self._batch_entropy(logits.sigmoid())

    def _batch_entropy(self, positive: Tensor) -> Tensor:
        if self.bits > TABLE_BITS:
            mean = positive.mean(0)
            return (entropy(mean) + entropy(1 - mean)).sum()
        table = positive.new_ones(len(positive), 1)
        for bit in positive.unbind(1):
            table = torch.cat([table * (1 - bit[:, None]), table * bit[:, None]], dim=1)
        return entropy(table.mean(0)).sum()

    def _corners(self, positive: Tensor) -> Tensor:
        dtype = next((p.dtype for p in self.parameters()), torch.get_default_dtype())
        return (positive.to(dtype) * 2 - 1) * (1 / math.sqrt(self.bits) if self.spherical else 1.0)


class BSQ(LFQ):
    """Binary spherical quantization: LFQ on the unit sphere."""

    def __init__(self, bits: int, dim: int | None = None, inverse_temperature: float = 100.0, diversity: float = 1.0) -> None:
        super().__init__(bits, dim, True, inverse_temperature, diversity)


def entropy(p: Tensor) -> Tensor:
    """-p log p, with a finite gradient at zero."""
    return -p * p.clamp(min=max(1e-12, torch.finfo(p.dtype).tiny)).log()
