"""What every quantizer shares: the call, what it returns, and the two numbers that say how well a codebook is used."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..kernels.errors import ShapeError


@dataclass(frozen=True)
class Quantized:
    """What the training pass over latents [batch, dim, frames] gives.

    Attributes:
        latents: [batch, dim, frames], the decoded codes, with a gradient to the input.
        codes: int64 [batch, depth, frames].
        commitment: scalar, mean squared distance from each stage's input to its code, over the stages in use.
        usage: [depth], share of each codebook in use: by its moving average where it has one, in this batch elsewhere.
        codebook: scalar, the loss that moves learned codes to their inputs; zero where they are not learned by gradient.
        entropy: scalar, the loss that spreads codes over the codebook (LFQ, BSQ, multi-codebook); zero elsewhere.
        perplexity: [depth], exponential of the entropy of this batch's codes: the number of codes in even use.
    """

    latents: Tensor
    codes: Tensor
    commitment: Tensor
    usage: Tensor
    codebook: Tensor
    entropy: Tensor
    perplexity: Tensor


class Quantizer(nn.Module):
    """Latents [batch, dim, frames] to codes int64 [batch, depth, frames] and back; `forward` gives a `Quantized`."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Codes in each codebook."""
        raise NotImplementedError

    @property
    def depth(self) -> int:
        """How many codebooks there are."""
        return len(self.sizes)

    def encode(self, latents: Tensor, depth: int | None = None) -> Tensor:
        """Return codes int64 [batch, depth, frames]; the first `depth` codebooks, all by default."""
        raise NotImplementedError

    def decode(self, codes: Tensor) -> Tensor:
        """Return latents [batch, dim, frames] of codes [batch, depth, frames]; fewer codebooks decode coarsely."""
        raise NotImplementedError

    def forward(self, latents: Tensor, depths: Tensor | None = None) -> Quantized:
        """Quantize for training; `depths` int64 [batch] says how many codebooks each item uses."""
        raise NotImplementedError

    def _quantized(self, latents: Tensor, codes: Tensor, commitment: Tensor, **others: Tensor) -> Quantized:
        usage, perplexity = measure(codes, self.sizes)
        zero = commitment.new_zeros(())
        fields = {"usage": usage, "perplexity": perplexity, "codebook": zero, "entropy": zero} | others
        return Quantized(latents, codes, commitment, **fields)


def to_rows(latents: Tensor, dim: int) -> Tensor:
    """Latents [batch, dim, frames] as rows [batch * frames, dim].

    Raises:
        ShapeError: if latents are not of that shape.
    """
    if latents.dim() != 3 or latents.shape[1] != dim:
        raise ShapeError(f"latents must be [batch, {dim}, frames]; got {list(latents.shape)}")
    return latents.transpose(1, 2).reshape(-1, dim)


def from_rows(rows: Tensor, batch: int) -> Tensor:
    """Rows [batch * frames, width] as [batch, width, frames]."""
    return rows.view(batch, -1 if len(rows) else 0, rows.shape[1]).transpose(1, 2)


def in_use(depths: Tensor | None, depth: int, batch: int, frames: int, device: torch.device) -> Tensor:
    """Which rows [depth, batch * frames] (bool) each of `depth` stages codes, of items that use `depths` [batch] stages."""
    limits = torch.full((batch,), depth, device=device) if depths is None else depths.to(device)
    return (torch.arange(depth, device=device)[:, None] < limits).repeat_interleave(frames, dim=1)


def sample_depths(batch: int, depth: int, keep: float = 0.5, generator: torch.Generator | None = None) -> Tensor:
    """Depth dropout: int64 [batch], all codebooks with probability `keep`, else uniformly from 1 to `depth`.

    Source: Zeghidour et al., "SoundStream", 2021, section III-C; Kumar et al., "DAC", 2023, section 3.3.
    """
    drawn = torch.randint(1, depth + 1, (batch,), generator=generator)
    return torch.where(torch.rand(batch, generator=generator) < keep, depth, drawn)


def measure(codes: Tensor, sizes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Share of each codebook in use, and its perplexity: two of [depth], of codes [batch, depth, frames]."""
    usage, perplexity = [], []
    for column, size in zip(codes.unbind(1), sizes, strict=False):
        counts = column.unique(return_counts=True)[1].float()  # a table of all codes would not fit where a code has 36 bits
        share = counts / counts.sum()
        usage.append(share.new_tensor(len(share) / size))
        perplexity.append(torch.special.entr(share).sum().exp())
    return torch.stack(usage), torch.stack(perplexity)


def mean_squared(x: Tensor, target: Tensor, on: Tensor) -> Tensor:
    """Mean squared distance per element over the rows [N] (bool) that are on; zero where none is."""
    squared = (x - target).square().mean(1)
    return torch.where(on, squared, 0).sum() / on.sum().clamp(min=1)
