"""Grouped quantization: the channels are cut into equal groups, and each group has a quantizer of its own.

Source: Yang et al., "HiFi-Codec: Group-Residual Vector Quantization for High Fidelity Audio Codec", 2023, section 3.2.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..kernels.errors import ShapeError
from .base import Quantized, Quantizer


class Grouped(Quantizer):
    """`groups` quantizers side by side; codes of one depth are neighbours: depth 0 of each group, then depth 1, and so on.

    Args:
        make: a quantizer of latents [batch, dim / groups, frames], called once per group; all of one depth.
        groups: how many.
    """

    def __init__(self, make: Callable[[], Quantizer], groups: int) -> None:
        super().__init__()
        self.groups = nn.ModuleList(make() for _ in range(groups))

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(size for stage in zip(*(group.sizes for group in self._groups()), strict=True) for size in stage)

    def encode(self, latents: Tensor, depth: int | None = None) -> Tensor:
        count = len(self.groups)
        if depth is not None and depth % count:
            raise ShapeError(f"depth counts codebooks of all {count} groups and must be a multiple of it; got {depth}")
        stages = None if depth is None else depth // count
        parts = zip(self._groups(), latents.chunk(count, 1), strict=True)
        return _interleave([group.encode(part, stages) for group, part in parts])

    def decode(self, codes: Tensor) -> Tensor:
        count = len(self.groups)
        return torch.cat([group.decode(codes[:, i::count]) for i, group in enumerate(self._groups())], dim=1)

    def forward(self, latents: Tensor, depths: Tensor | None = None) -> Quantized:
        """Quantize for training; `depths` int64 [batch] counts stages of each group here."""
        parts = zip(self._groups(), latents.chunk(len(self.groups), 1), strict=True)
        results = [group(part, depths) for group, part in parts]

        def mean(name: str) -> Tensor:
            return torch.stack([getattr(result, name) for result in results]).mean()

        return self._quantized(
            torch.cat([result.latents for result in results], dim=1),
            _interleave([result.codes for result in results]),
            mean("commitment"),
            codebook=mean("codebook"),
            entropy=mean("entropy"),
            usage=torch.stack([result.usage for result in results], 1).flatten(),
        )

    def _groups(self) -> list[Quantizer]:
        return list(self.groups)  # type: ignore[arg-type]


def _interleave(codes: list[Tensor]) -> Tensor:
    """Codes [batch, depth, frames] of each group as [batch, depth * groups, frames]."""
    return torch.stack(codes, dim=2).flatten(1, 2)
