"""Multi-codebook quantization: several small codebooks whose chosen codes are added, and chosen together.

Source: Guo et al., "Predicting Multi-Codebook Vector Quantization Indexes for Knowledge Distillation", 2022, section 3: a
linear layer proposes the codes, then each codebook in turn chooses anew while the others stand still, until none improves.
SPEAR's units of speech and audio are such codes.
"""

import torch
from torch import Tensor, nn

from ..kernels import half_norms, nearest_code
from ..kernels.errors import ShapeError
from .base import Quantized, Quantizer, from_rows, mean_squared, to_rows
from .gradients import straight_through


class MultiCodebookVQ(Quantizer):
    """`depth` codebooks of `size` codes; unlike a residual chain no codebook comes first, and all are needed to decode.

    `encode`, `decode` and `forward` refuse any other depth with a ShapeError.

    Args:
        dim, size, depth: shape of the codebooks.
        refinements: at most this many rounds over all codebooks.
    """

    def __init__(self, dim: int, size: int, depth: int, refinements: int = 5) -> None:
        super().__init__()
        self.refinements = refinements
        self.propose = nn.Linear(dim, depth * size)
        self.codebooks = nn.Parameter(torch.randn(depth, size, dim) * (depth * dim) ** -0.5)

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.codebooks.shape[1],) * self.codebooks.shape[0]

    def encode(self, latents: Tensor, depth: int | None = None) -> Tensor:
        self._check_depth(self.depth if depth is None else depth)
        return from_rows(self.choose(to_rows(latents, self.codebooks.shape[2])), latents.shape[0])

    def decode(self, codes: Tensor) -> Tensor:
        self._check_depth(codes.shape[1])
        return (
            torch.stack([book[code] for book, code in zip(self.codebooks, codes.unbind(1), strict=True)]).sum(0).transpose(1, 2)
        )

    @torch.no_grad()
    def choose(self, rows: Tensor) -> Tensor:
        """Codes [N, depth] of rows [N, dim]: the proposal, refined until no codebook finds a closer code."""
        depth, size, _ = self.codebooks.shape
        codes = self.propose(rows).view(-1, depth, size).argmax(2)
        half = half_norms(self.codebooks)
        for _ in range(self.refinements):
            before = codes.clone()
            total = self._sum(codes)
            for stage, book in enumerate(self.codebooks):
                others = total - book[codes[:, stage]]
                codes[:, stage] = nearest_code(rows - others, book, half[stage])
                total = others + book[codes[:, stage]]
            if torch.equal(before, codes):
                break
        return codes

    def forward(self, latents: Tensor, depths: Tensor | None = None) -> Quantized:
        """Quantize for training.

        `codebook` is the distance that the codebooks minimise. `entropy` teaches the proposal: the refined codes' negative
        log likelihood, less the entropy of its mean over the batch, which keeps all codes in use.

        Raises:
            ShapeError: if `depths` ask for fewer codebooks than all.
        """
        if depths is not None:
            self._check_depth(int(depths.min()) if len(depths) else self.depth)
        batch = latents.shape[0]
        rows = to_rows(latents, self.codebooks.shape[2])
        codes = self.choose(rows.detach())
        chosen, on = self._sum(codes), torch.ones(len(rows), dtype=torch.bool, device=rows.device)
        return self._quantized(
            from_rows(straight_through(rows, chosen), batch),
            from_rows(codes, batch),
            mean_squared(rows, chosen.detach(), on),
            codebook=mean_squared(chosen, rows.detach(), on),
            entropy=self._proposal_loss(rows.detach(), codes),
        )

    def _check_depth(self, depth: int) -> None:
        if depth != self.depth:
            raise ShapeError(f"all {self.depth} codebooks were chosen together and none can be left out; got depth {depth}")

    def _sum(self, codes: Tensor) -> Tensor:
        return torch.stack([book[code] for book, code in zip(self.codebooks, codes.unbind(1), strict=True)]).sum(0)

    def _proposal_loss(self, rows: Tensor, codes: Tensor) -> Tensor:
        depth, size, _ = self.codebooks.shape
        logits = self.propose(rows).view(-1, depth, size)
        likelihood = nn.functional.cross_entropy(logits.flatten(0, 1), codes.flatten())
        spread = torch.special.entr(logits.softmax(2).mean(0)).sum(1).mean()
        return likelihood - spread
