"""A model that writes all frames at once and chooses again where it is unsure, codebook after codebook.

Sources: Ziv et al., "Masked Audio Generation using a Single Non-Autoregressive Transformer" (MAGNeT), 2024; Chang et al.,
"MaskGIT", 2022. Unlike MAGNeT's, its later codebooks see all frames, not only near ones.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...codecs.errors import ShapeError
from ..masking import cosine_schedule, hide, remask, span_mask
from .base import LanguageModel
from .config import LanguageConfig
from .sampling import Sampling
from .transformer import Transformer, waves


class MaskedModel(LanguageModel):
    """A transformer that sees both ways over frames, each the sum of its codes' embeddings; `mask_id` hides codes."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__(config)
        self.mask_id = max(config.sizes)
        self.tables = nn.ModuleList([nn.Embedding(self.mask_id + 1, config.width) for _ in config.sizes])
        self.body = Transformer(config.width, config.layers, config.heads, causal=False, dropout=config.dropout)
        self.outward = nn.ModuleList([nn.Linear(config.width, size) for size in config.sizes])

    def loss(self, codes: Tensor, lengths: Tensor, ended: Tensor, told: Sequence[str | None]) -> Tensor:
        """See `LanguageModel.loss`; hides spans of one codebook, how many by the schedule at a moment drawn at random."""
        stage = int(torch.randint(codes.shape[1], ()))
        share = math.cos(math.pi / 2 * float(torch.rand(())))
        mask = span_mask(len(codes), codes.shape[-1], share, self.config.span, lengths.cpu())
        seen, wanted = hide(codes, mask, stage, self.mask_id)
        chosen = wanted[:, stage]
        logits = self(seen, stage, told, lengths)[chosen].float()
        return F.cross_entropy(logits, codes[:, stage][chosen], reduction="sum") / chosen.sum().clamp(min=1)

    def forward(self, codes: Tensor, stage: int, told: Sequence[str | None], lengths: Tensor | None = None) -> Tensor:
        """Return the logits [batch, frames, ids] of codebook `stage`, of codes [batch, codebooks, frames] with hidden ones."""
        before, keep = self.prefix(self.prefix.ids(told).to(self.device))
        frames = torch.stack([table(row) for table, row in zip(self.tables, codes.unbind(1), strict=True)]).sum(0)
        places = torch.arange(codes.shape[-1], device=self.device)
        used = torch.ones_like(codes[:, 0], dtype=torch.bool) if lengths is None else places < lengths[:, None]
        frames = frames + waves(frames.shape[1], frames.shape[2], self.device)  # hidden codes are all alike without
        hidden = self.body(torch.cat([before, frames], dim=1), torch.cat([keep, used], dim=1))
        return self.outward[stage](hidden[:, before.shape[1] :])

    @torch.inference_mode()
    def fill(
        self,
        frames: int,
        told: str | None = None,
        prompt: Tensor | None = None,
        sampling: Sampling | None = None,
        steps: Sequence[int] = (20, 10),
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return codes [1, codebooks, frames].

        Args:
            frames: in all.
            told: a label or text.
            prompt: codes [1, codebooks, n] of the first frames.
            sampling: how codes are drawn; the noise on how sure they are falls to none with the last step.
            steps: of each codebook, the last number for all that follow.
            generator: of random numbers, on the CPU.

        Raises:
            ShapeError: if the prompt does not fit.
        """
        codes, fixed = self._start(frames, prompt)
        for stage in range(len(self.config.sizes)):
            count = steps[min(stage, len(steps) - 1)]
            self._fill_stage(codes, fixed, stage, count, told, sampling or Sampling(), generator)
        return codes

    def _start(self, frames: int, prompt: Tensor | None) -> tuple[Tensor, Tensor]:
        books = len(self.config.sizes)
        given = 0 if prompt is None else prompt.shape[-1]
        if given > frames or (prompt is not None and tuple(prompt.shape[:2]) != (1, books)):
            shape = None if prompt is None else list(prompt.shape)
            raise ShapeError(f"a prompt is [1, {books}, at most {frames} frames]; got {shape}: cut it, or ask for more frames")
        codes = torch.full((1, books, frames), self.mask_id, device=self.device)
        if prompt is not None:
            codes[..., :given] = prompt.to(self.device)
        return codes, torch.arange(frames)[None] < given

    def _fill_stage(
        self, codes: Tensor, fixed: Tensor, stage: int, steps: int, told: str | None, sampling: Sampling,
        generator: torch.Generator | None,
    ) -> None:  # fmt: skip
        """Write the codes of one codebook in place."""
        mask = ~fixed
        for step in range(steps):
            logits = self._logits(codes, stage, told, sampling)
            drawn = sampling.choose(logits, generator)
            sure = logits.float().cpu().log_softmax(-1).gather(-1, drawn[..., None])[..., 0]
            noise = -torch.empty_like(sure).exponential_(generator=generator).log()  # Gumbel's distribution
            sure = (sure + noise * sampling.temperature * (1 - (step + 1) / steps)).masked_fill(~mask, torch.inf)
            codes[:, stage] = torch.where(mask.to(self.device), drawn.to(self.device), codes[:, stage])
            if step + 1 < steps:
                mask = remask(sure, fixed, cosine_schedule(step + 1, steps), self.config.span) & mask
                codes[:, stage][mask.to(self.device)] = self.mask_id

    def _logits(self, codes: Tensor, stage: int, told: str | None, sampling: Sampling) -> Tensor:
        if not sampling.guided:
            return self(codes, stage, [told])
        return sampling.guide(self(codes.repeat(2, 1, 1), stage, [told, None]))
