"""SimVQ: the codebook is a frozen random one seen through one learned linear map, so that all codes move together.

Source: Zhu et al., "Addressing Representation Collapse in Vector Quantized Models with One Linear Layer", 2024, section 4.
"""

import torch
from torch import Tensor, nn

from ..kernels import nearest_code
from .base import Quantized, Quantizer, from_rows, mean_squared, to_rows
from .gradients import gradient_named


class SimVQ(Quantizer):
    """One codebook of `size` codes that never collapses; learned by the codebook loss.

    Args:
        dim, size: shape of the codebook.
        gradient: "rotation" or "straight_through".
    """

    frozen: Tensor

    def __init__(self, dim: int, size: int, gradient: str = "rotation") -> None:
        super().__init__()
        self.register_buffer("frozen", torch.randn(size, dim) * dim**-0.5)
        self.map = nn.Linear(dim, dim, bias=False)
        self.through = gradient_named(gradient)

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.frozen.shape[0],)

    @property
    def codebook(self) -> Tensor:
        """The codes [size, dim] as they are now."""
        return self.map(self.frozen)

    def encode(self, latents: Tensor, depth: int | None = None) -> Tensor:
        rows = to_rows(latents, self.frozen.shape[1])
        return from_rows(nearest_code(rows, self.codebook)[:, None], latents.shape[0])

    def decode(self, codes: Tensor) -> Tensor:
        return self.map(self.frozen[codes[:, 0]]).transpose(1, 2)

    def forward(self, latents: Tensor, depths: Tensor | None = None) -> Quantized:
        rows, codebook = to_rows(latents, self.frozen.shape[1]), self.codebook
        code = nearest_code(rows, codebook)
        chosen, on = codebook[code], torch.ones_like(code, dtype=torch.bool)
        out = from_rows(self.through(rows, chosen), latents.shape[0])
        return self._quantized(
            out,
            from_rows(code[:, None], latents.shape[0]),
            mean_squared(rows, chosen.detach(), on),
            codebook=mean_squared(chosen, rows.detach(), on),
        )
