"""What a language model is told before the first frame: a label, the bytes of a text, or nothing."""

import difflib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...codecs.errors import ShapeError
from .config import LanguageConfig

NONE = -1  # stands before shorter prefixes


class Prefix(nn.Module):
    """Positions in front of the frames: a first one, which is all there is where nothing is told, then the label or bytes."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        self.labels, self.reads = config.labels, config.text
        self.table = nn.Embedding(1 + (256 if config.text else len(config.labels)), config.width)

    def ids(self, told: Sequence[str | None]) -> Tensor:
        """Return int64 [batch, positions] of what each item is told; shorter ones begin with `NONE`.

        Raises:
            ShapeError: if the model does not know a label, or is told what it was not trained for.
        """
        rows = [[0, *self._row(one)] for one in told]
        longest = max(len(row) for row in rows)
        return torch.tensor([[NONE] * (longest - len(row)) + row for row in rows])

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return positions [batch, n, width], and bool [batch, n], false for those that stand for nothing."""
        return self.table(ids.clamp(min=0)), ids != NONE

    def _row(self, told: str | None) -> list[int]:
        if told is None:
            return []
        if self.reads:
            return [1 + byte for byte in told.encode()]
        if told in self.labels:
            return [1 + self.labels.index(told)]
        if not self.labels:
            raise ShapeError(f"this model was trained without labels or text; got {told!r}: leave it out")
        near = difflib.get_close_matches(told, self.labels, n=3) or self.labels[:10]
        raise ShapeError(f"this model knows {len(self.labels)} labels, and {told!r} is none of them: {', '.join(near)}, say")
