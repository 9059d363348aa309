"""Choosing ids out of logits: temperature, the likeliest ones only, and guidance by what was told."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ...codecs.errors import ShapeError


@dataclass(frozen=True)
class Sampling:
    """How ids are drawn.

    Attributes:
        temperature: 0 takes the likeliest.
        top_k: the likeliest ids that are drawn from; 0 for all.
        top_p: the smallest set of likeliest ids whose probabilities reach this sum.
        guidance: 1 for none; above, logits go that many times the way from not told to told (Ho and Salimans, 2022).
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    guidance: float = 1.0

    def __post_init__(self) -> None:
        if self.temperature < 0 or self.top_k < 0 or not 0 < self.top_p <= 1 or self.guidance < 0:
            raise ShapeError(
                "temperature, top_k and guidance must be at least 0, and top_p above 0 and at most 1; got "
                f"{self.temperature:g}, {self.top_k}, {self.guidance:g} and {self.top_p:g}"
            )

    @property
    def guided(self) -> bool:
        """Whether the model must say what it would write if it were told nothing."""
        return self.guidance != 1

    def guide(self, logits: Tensor) -> Tensor:
        """Return the logits [batch, ...] of items of which each is there twice, [2 * batch, ...], told and then not told."""
        if not self.guided:
            return logits
        told, untold = logits.chunk(2)
        return untold + self.guidance * (told - untold)

    def choose(self, logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return an id for each row of logits [..., ids], on the CPU, where the generator draws."""
        if self.temperature == 0:
            return logits.argmax(-1).cpu()
        shares = self._limit(logits.float().cpu() / self.temperature).softmax(-1)
        return torch.multinomial(shares.flatten(0, -2), 1, generator=generator).view(shares.shape[:-1])

    def _limit(self, logits: Tensor) -> Tensor:
        if 0 < self.top_k < logits.shape[-1]:
            logits = logits.masked_fill(logits < logits.topk(self.top_k).values[..., -1:], -torch.inf)
        if self.top_p < 1:
            order = logits.argsort(-1, descending=True)
            shares = logits.gather(-1, order).softmax(-1)
            beyond = shares.cumsum(-1) - shares >= self.top_p
            logits = logits.masked_fill(torch.zeros_like(beyond).scatter(-1, order, beyond), -torch.inf)
        return logits
