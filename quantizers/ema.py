"""Codebooks that follow the mean of the vectors that choose them, and codes that nobody chooses brought back to life.

Sources: van den Oord et al., "Neural Discrete Representation Learning", 2017, appendix A.1; Razavi et al., "VQ-VAE-2", 2019;
revival: Dhariwal et al., "Jukebox", 2020, section 3.1.
"""

import torch
from torch import Tensor, nn
from torch import distributed as dist

from ..kernels import half_norms, rvq_encode
from ..kernels.errors import ShapeError
from ..kernels.statistics import Statistics, code_statistics
from .base import Quantizer
from .kmeans import kmeans

LEAST_COUNT = 1e-6  # a mean of fewer rows than this is rounding error


class MovingCodebooks(Quantizer):
    """Buffers `codebooks` [depth, size, dim], with `counts` [depth, size] and `sums` [depth, size, dim], their moving averages.

    Only the codebooks are part of a saved model; a trainer that resumes keeps the other two as well.

    Args:
        dim, size, depth: shape of the codebooks.
        decay: of the moving averages, per update.
        revive_below: share of the mean count under which a code is dead, whatever the size of the batch.
        upstream_compat: revive as the field's published code does, which has no effect: the next line of that code
            overwrites the revived vectors from averages that were left as they were.
        private: how many of the last numbers of a vector the first codebook alone codes: zero in all others.
    """

    codebooks: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(
        self,
        dim: int,
        size: int,
        depth: int,
        decay: float = 0.99,
        revive_below: float = 0.1,
        upstream_compat: bool = False,
        private: int = 0,
    ) -> None:
        super().__init__()
        if private and not 0 < private < dim:
            raise ShapeError(f"of {dim} numbers of a vector 0 to {dim - 1} can be the first codebook's own; got {private}")
        self.private = private
        self.decay = decay
        self.revive_below = revive_below
        self.upstream_compat = upstream_compat
        self.register_buffer("codebooks", torch.randn(depth, size, dim) * 0.1)
        self.codebooks[1:, :, dim - private :] = 0
        self.register_buffer("counts", torch.ones(depth, size), persistent=False)
        self.register_buffer("sums", self.codebooks.clone(), persistent=False)
        self._half_norms: tuple[Tensor, int, Tensor] | None = None

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.codebooks.shape[1],) * self.codebooks.shape[0]

    @property
    def dim(self) -> int:
        """Length of a code's vector."""
        return self.codebooks.shape[2]

    def alive(self) -> Tensor:
        """Share [depth] of each codebook whose moving average is above the floor."""
        return (self.counts > self._floor()).float().mean(1)

    def search(self, rows: Tensor, first: int = 0, last: int | None = None) -> Tensor:
        """Residual codes [N, stages] of rows [N, dim] under the codebooks first to last."""
        half = self._current_half_norms()
        return rvq_encode(rows, self.codebooks[first:last], half[first:last])

    def seen(self, stage: int, rows: Tensor) -> Tensor:
        """Return rows [N, dim] as a stage codes them: without the first one's private numbers if it is another."""
        if not (stage and self.private):
            return rows
        return nn.functional.pad(rows[:, : -self.private], (0, self.private))

    @torch.no_grad()
    def start(self, rows: Tensor, iterations: int = 10) -> None:
        """Set all codebooks by k-means, stage after stage, on sample vectors [rows, dim], several per code."""
        residual = rows
        for stage in range(self.depth):
            residual = self.seen(stage, residual)
            centres, codes = kmeans(residual, self.codebooks.shape[1], iterations)
            self.counts[stage] = torch.bincount(codes, minlength=len(centres)).clamp(min=1).to(self.counts.dtype)
            self.codebooks[stage] = centres
            self.sums[stage] = centres * self.counts[stage][:, None]
            residual = residual - centres[codes]

    @torch.no_grad()
    def update(self, stage: int, rows: Tensor, codes: Tensor) -> None:
        """Move one codebook to the rows [N, dim] that chose its codes [N], on all machines of a job alike."""
        rows = self.seen(stage, rows)
        statistics = _over_all_machines(codes, rows, self.codebooks.shape[1])
        total = statistics.counts.sum()
        weight = torch.where(total > 0, 1 - self.decay, 0.0).to(self.counts.dtype)  # a stage that coded nothing stands still
        self.counts[stage] += weight * (statistics.counts - self.counts[stage])
        self.sums[stage] += weight * (statistics.float_sums(self.sums.dtype) - self.sums[stage])
        if not self.upstream_compat:
            self._revive(stage, rows)
        counts = self.counts[stage][:, None]
        self.codebooks[stage] = torch.where(counts > LEAST_COUNT, self.sums[stage] / counts, self.codebooks[stage])

    def _floor(self) -> Tensor:
        return self.revive_below * self.counts.mean(1, keepdim=True)

    def _revive(self, stage: int, rows: Tensor) -> None:
        """Give dead codes a row of this batch, the mean count, and sums to match: the next update must not undo it."""
        dead = (self.counts[stage] < self._floor()[stage]).nonzero()[:, 0]
        if not len(dead):
            return
        fresh, found = _sample_on_first_machine(rows, len(dead))
        if found:
            self.counts[stage, dead] = self.counts[stage].mean()
            self.sums[stage, dead] = fresh * self.counts[stage, dead][:, None]

    def _current_half_norms(self) -> Tensor:
        """Half norms, kept until the codebooks are replaced or written to."""
        books = self.codebooks
        if books.is_inference() or torch.compiler.is_compiling():
            return half_norms(books)
        if self._half_norms is None or self._half_norms[0] is not books or self._half_norms[1] != books._version:
            self._half_norms = (books, books._version, half_norms(books))
        return self._half_norms[2]


def _together() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _over_all_machines(codes: Tensor, rows: Tensor, size: int) -> Statistics:
    """Counts and sums over all processes of a job, exact integers, so that all of them get the same bits."""
    peak = rows.abs().amax() if rows.numel() else rows.new_zeros(())
    if _together():
        dist.all_reduce(peak, dist.ReduceOp.MAX)
    statistics = code_statistics(codes, rows, size, peak)
    if _together():
        dist.all_reduce(statistics.counts)
        dist.all_reduce(statistics.sums)
    return statistics


def _sample_on_first_machine(rows: Tensor, number: int) -> tuple[Tensor, bool]:
    """Random rows [number, dim] of the first process that has any, the same on all, and whether there were some."""
    fresh = rows.new_zeros(number, rows.shape[1])
    if len(rows):
        fresh = rows[torch.randint(len(rows), (number,), device=rows.device)]
    if not _together():
        return fresh, len(rows) > 0
    source = torch.full((), dist.get_rank() if len(rows) else dist.get_world_size(), device=rows.device)
    dist.all_reduce(source, dist.ReduceOp.MIN)
    if int(source) == dist.get_world_size():
        return fresh, False
    fresh = fresh.contiguous()
    dist.broadcast(fresh, int(source))
    return fresh, True
