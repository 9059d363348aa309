"""Random-projection quantizer: labels for self-supervised training from a frozen random map and a frozen random codebook.

Sources: Chiu et al., "Self-Supervised Learning with Random-Projection Quantizer for Speech Recognition" (BEST-RQ), 2022,
section 3.1; the first tokenizer of Chen et al., "BEATs: Audio Pre-Training with Acoustic Tokenizers", 2022, section 3.2.1.
"""

import torch
from torch import Tensor, nn

from ..kernels import nearest_code
from .base import Quantized, Quantizer, from_rows, to_rows


class RandomProjectionQuantizer(Quantizer):
    """Features to labels of greatest cosine; nothing is learned, and `decode` gives the directions of the codes.

    Args:
        dim: of the features.
        size: labels per codebook.
        code_dim: dimensions after the projection.
        depth: independent projections and codebooks.
        normalise: give each feature vector mean 0 and deviation 1 first, without which few labels are used.
        seed: of the random map and codebook: the same seed gives the same labels on any machine.
    """

    projections: Tensor
    codebooks: Tensor

    def __init__(self, dim: int, size: int, code_dim: int = 16, depth: int = 1, normalise: bool = True, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        deviation = (2 / (dim + code_dim)) ** 0.5  # Glorot and Bengio, 2010
        self.normalise = normalise
        self.register_buffer("projections", torch.randn(depth, dim, code_dim, generator=generator) * deviation)
        codebooks = torch.randn(depth, size, code_dim, generator=generator)
        self.register_buffer("codebooks", nn.functional.normalize(codebooks, dim=-1))

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.codebooks.shape[1],) * self.codebooks.shape[0]

    @torch.no_grad()
    def encode(self, latents: Tensor, depth: int | None = None) -> Tensor:
        rows = to_rows(latents, self.projections.shape[1])
        rows = nn.functional.layer_norm(rows, rows.shape[1:]) if self.normalise else rows
        zero = rows.new_zeros(self.codebooks.shape[1])
        pairs = list(zip(self.projections, self.codebooks, strict=True))[:depth]
        codes = [nearest_code(rows @ projection, codebook, zero) for projection, codebook in pairs]
        return from_rows(torch.stack(codes, 1), latents.shape[0])

    def decode(self, codes: Tensor) -> Tensor:
        """Unit vectors [batch, depth * code_dim, frames]: where the projected features pointed, each codebook's in turn."""
        chosen = [codebook[code] for codebook, code in zip(self.codebooks, codes.unbind(1), strict=False)]
        return torch.cat(chosen, dim=-1).transpose(1, 2)

    def forward(self, latents: Tensor, depths: Tensor | None = None) -> Quantized:
        codes = self.encode(latents)
        return self._quantized(self.decode(codes), codes, latents.new_zeros(()))
