"""Multi-scale residual quantization: coarse stages code averages over several frames, fine stages what is left of each frame.

Source: Siuzdak, Grötschla and Lanzendörfer, "SNAC: Multi-Scale Neural Audio Codec", 2024, section 3.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..kernels.errors import ShapeError
from .base import Quantized, Quantizer


@dataclass(frozen=True)
class MultiScaleQuantized:
    """What the training pass gives: like `Quantized`, with the codes of each scale at its own rate.

    Attributes:
        latents: [batch, dim, frames], with a gradient to the input.
        codes: for each scale int64 [batch, depth of the scale, frames / stride].
        commitment, codebook, entropy: scalars, means over the scales.
        usage, perplexity: [all codebooks].
    """

    latents: Tensor
    codes: tuple[Tensor, ...]
    commitment: Tensor
    codebook: Tensor
    entropy: Tensor
    usage: Tensor
    perplexity: Tensor


class MultiScaleResidual(nn.Module):
    """A residual chain of quantizers, each at the latents' rate divided by its stride; frames are a multiple of all strides.

    Args:
        make: a quantizer of latents [batch, dim, frames], called once per stride.
        strides: frames per code of each scale, coarse first: SNAC's are (4, 2, 1) or (8, 4, 2, 1).
    """

    def __init__(self, make: Callable[[], Quantizer], strides: Sequence[int]) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.scales = nn.ModuleList(make() for _ in strides)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Codes in each codebook, scale after scale."""
        return tuple(size for scale in self._scales() for size in scale.sizes)

    def encode(self, latents: Tensor, scales: int | None = None) -> tuple[Tensor, ...]:
        """Return the codes of each scale, the first `scales` of them."""
        codes, residual = [], latents
        for stride, scale in list(zip(self.strides, self._scales(), strict=True))[:scales]:
            codes.append(scale.encode(pool(residual, stride)))
            residual = residual - spread(scale.decode(codes[-1]), stride)
        return tuple(codes)

    def decode(self, codes: Sequence[Tensor]) -> Tensor:
        """Return latents [batch, dim, frames] of the codes of the first scales."""
        parts = zip(self._scales(), codes, self.strides, strict=False)
        return torch.stack([spread(scale.decode(code), stride) for scale, code, stride in parts]).sum(0)

    def forward(self, latents: Tensor) -> MultiScaleQuantized:
        total, residual, results = torch.zeros_like(latents), latents, []
        for stride, scale in zip(self.strides, self._scales(), strict=True):
            results.append(scale(pool(residual, stride)))
            out = spread(results[-1].latents, stride)
            total, residual = total + out, residual - out.detach()
        return _gathered(total, results)

    def _scales(self) -> list[Quantizer]:
        return list(self.scales)  # type: ignore[arg-type]


def pool(latents: Tensor, stride: int) -> Tensor:
    """Means of `stride` frames each.

    Raises:
        ShapeError: if the frames do not divide.
    """
    if latents.shape[2] % stride:
        raise ShapeError(f"frames must be a multiple of the stride {stride}; got {latents.shape[2]}: pad the latents")
    return nn.functional.avg_pool1d(latents, stride) if stride > 1 else latents


def spread(latents: Tensor, stride: int) -> Tensor:
    """Each frame `stride` times."""
    return latents.repeat_interleave(stride, dim=2) if stride > 1 else latents


def _gathered(latents: Tensor, results: list[Quantized]) -> MultiScaleQuantized:
    def mean(name: str) -> Tensor:
        return torch.stack([getattr(result, name) for result in results]).mean()

    def joined(name: str) -> Tensor:
        return torch.cat([getattr(result, name) for result in results])

    codes = tuple(result.codes for result in results)
    losses = (mean("commitment"), mean("codebook"), mean("entropy"))
    return MultiScaleQuantized(latents, codes, *losses, joined("usage"), joined("perplexity"))
