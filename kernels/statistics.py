"""Sums of the vectors that chose each code, the same bit for bit in any order.

Values become 64-bit integers on a common scale, whose addition is associative: the order of threads, of rows and of the
machines of a job leaves no trace. The scale is a power of two that leaves room for 2^33 values.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .launching import on_gpu

BITS = 30


@dataclass(frozen=True)
class Statistics:
    """Integer sums that can be added over machines before `means` are taken.

    Attributes:
        counts: int64 [K], rows that chose each code.
        sums: int64 [K, D], their sums times `scale`.
        scale: float64 scalar, a power of two.
    """

    counts: Tensor
    sums: Tensor
    scale: Tensor

    def float_sums(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The sums [K, D] as numbers."""
        return (self.sums.double() / self.scale).to(dtype)


def scale_of(peak: Tensor) -> Tensor:
    """The scale for values up to `peak` in magnitude: float64, a power of two; without waiting for a GPU."""
    exponent = torch.frexp(peak.double()).exponent
    return torch.where(
        peak > 0, torch.exp2((BITS - exponent).double()), torch.ones((), dtype=torch.float64, device=peak.device)
    )


def code_statistics_reference(codes: Tensor, rows: Tensor, K: int, scale: Tensor) -> Statistics:
    """The definition of `code_statistics`."""
    counts = torch.bincount(codes, minlength=K)
    fixed = (rows.double() * scale).round().long()
    return Statistics(counts, fixed.new_zeros(K, rows.shape[1]).index_add_(0, codes, fixed), scale)


def code_statistics(codes: Tensor, rows: Tensor, K: int, peak: Tensor | None = None) -> Statistics:
    """Count and sum the rows of each code.

    Args:
        codes: int64 [N], in [0, K).
        rows: [N, D], float.
        K: size of the codebook.
        peak: greatest magnitude in `rows`, over all machines of a job; that of these rows by default.
    """
    if peak is None:
        peak = rows.abs().amax() if rows.numel() else rows.new_zeros(())
    scale = scale_of(peak)
    counts, sums = _code_statistics(codes, rows.detach(), K, scale)
    return Statistics(counts, sums, scale)


@torch.library.custom_op("toneme::code_statistics", mutates_args=())
def _code_statistics(codes: Tensor, rows: Tensor, K: int, scale: Tensor) -> tuple[Tensor, Tensor]:
    if on_gpu(rows):
        from .statistics_triton import code_statistics as added

        return added(codes, rows, K, scale)
    result = code_statistics_reference(codes, rows, K, scale)
    return result.counts, result.sums


@_code_statistics.register_fake
def _(codes: Tensor, rows: Tensor, K: int, scale: Tensor) -> tuple[Tensor, Tensor]:
    return codes.new_empty(K), codes.new_empty(K, rows.shape[1])
