"""k-means: whole, to start a codebook, and streaming over mini-batches, as a tokenizer of self-supervised features.

Sources: Lloyd, "Least Squares Quantization in PCM", 1982; Sculley, "Web-Scale K-Means Clustering", 2010 (mini-batches);
tokens of features: Hsu et al., "HuBERT", 2021, section II-A.
"""

import torch
from torch import Tensor, nn

from ..kernels import nearest_code
from ..kernels.statistics import code_statistics
from .base import Quantized, Quantizer, from_rows, mean_squared, to_rows
from .gradients import straight_through


def kmeans(
    rows: Tensor, size: int, iterations: int = 10, generator: torch.Generator | None = None, start: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Centres [size, dim] of rows [N, dim] by Lloyd's algorithm, and the code [N] of each row.

    Centres begin at random rows, or where `start` says, and move to random rows when they lose all of theirs.
    """
    centres = _random_rows(rows, size, generator) if start is None else start
    for _ in range(iterations):
        statistics = code_statistics(nearest_code(rows, centres), rows, size)
        means = statistics.float_sums(rows.dtype) / statistics.counts.clamp(min=1)[:, None]
        centres = torch.where(statistics.counts[:, None] > 0, means, _random_rows(rows, size, generator))
    return centres, nearest_code(rows, centres)


class KMeansTokenizer(Quantizer):
    """One codebook of k-means centres, fitted by one pass or more over batches of features.

    Args:
        dim, size: shape of the codebook.
        start_rows: features gathered before the first centres are set, at least `size` of them.
    """

    centres: Tensor
    counts: Tensor

    def __init__(self, dim: int, size: int, start_rows: int | None = None) -> None:
        super().__init__()
        self.start_rows = max(size, start_rows or 8 * size)
        self.register_buffer("centres", torch.zeros(size, dim))
        self.register_buffer("counts", torch.zeros(size, dtype=torch.float64))
        self._gathered: list[Tensor] = []

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.centres.shape[0],)

    @property
    def fitted(self) -> bool:
        """Whether there are centres."""
        return bool(self.counts.any())

    @torch.no_grad()
    def partial_fit(self, features: Tensor) -> None:
        """Move the centres to a batch of features [batch, dim, frames].

        Each centre is the mean of all rows it has been given. One that has had far fewer than its share takes over a row.
        """
        rows = to_rows(features, self.centres.shape[1])
        if not self.fitted:
            self._gathered.append(rows)
            if sum(map(len, self._gathered)) >= self.start_rows:
                self._start(torch.cat(self._gathered))
                self._gathered = []
            return
        self._move(rows)
        self._reassign(rows)

    def encode(self, latents: Tensor, depth: int | None = None) -> Tensor:
        return from_rows(nearest_code(to_rows(latents, self.centres.shape[1]), self.centres)[:, None], latents.shape[0])

    def decode(self, codes: Tensor) -> Tensor:
        return nn.functional.embedding(codes[:, 0], self.centres).transpose(1, 2)

    def forward(self, latents: Tensor, depths: Tensor | None = None) -> Quantized:
        codes = self.encode(latents)
        rows, chosen = to_rows(latents, self.centres.shape[1]), self.centres[codes[:, 0].reshape(-1)]
        loss = mean_squared(rows, chosen, torch.ones(len(rows), dtype=torch.bool, device=rows.device))
        return self._quantized(from_rows(straight_through(rows, chosen), latents.shape[0]), codes, loss)

    def _start(self, rows: Tensor) -> None:
        centres, codes = kmeans(rows, self.centres.shape[0])
        self.centres.copy_(centres)
        self.counts.copy_(torch.bincount(codes, minlength=len(centres)))

    def _move(self, rows: Tensor) -> None:
        statistics = code_statistics(nearest_code(rows, self.centres), rows, len(self.centres))
        self.counts += statistics.counts
        step = (statistics.float_sums(torch.float64) - statistics.counts[:, None] * self.centres) / self.counts.clamp(min=1)[
            :, None
        ]
        self.centres += step.to(self.centres.dtype)

    def _reassign(self, rows: Tensor, share: float = 0.01) -> None:
        floor = share * self.counts.mean()
        poor = (self.counts < floor).nonzero()[:, 0]
        if len(poor) and len(rows):
            self.centres[poor] = rows[torch.randint(len(rows), (len(poor),), device=rows.device)].to(self.centres.dtype)
            self.counts[poor] = floor.clamp(min=1)  # with less, the next batch would move it again, and so on for good


def _random_rows(rows: Tensor, size: int, generator: torch.Generator | None) -> Tensor:
    """Rows [size, dim], each once where there are enough."""
    order = torch.randperm(len(rows), generator=generator)
    picked = order[torch.arange(size) % len(rows)].to(rows.device)
    return rows[picked].clone()
