"""Models that write a pattern column by column, MusicGen-like ("delay") and Moshi-like ("depth").

Sources: Copet et al., "Simple and Controllable Music Generation", 2023; Défossez et al., "Moshi", 2024, section 3.4.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import LanguageModel
from .config import LanguageConfig
from .transformer import Cache, Transformer

Choose = Callable[[int, Tensor], Tensor]  # row, logits [batch, ids] -> ids [batch]


class ColumnModel(LanguageModel):
    """A causal transformer over columns, each the sum of its rows' embeddings.

    The special token of the first row, in place of a code, says that the recording has ended.
    """

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__(config)
        self.pattern = config.pattern
        self.tables = nn.ModuleList([nn.Embedding(size + 1, config.width) for size in config.sizes])
        self.body = Transformer(config.width, config.layers, config.heads, dropout=config.dropout)
        self.head = (Depth if config.kind == "depth" else Rows)(config)

    def loss(self, codes: Tensor, lengths: Tensor, ended: Tensor, told: Sequence[str | None]) -> Tensor:
        """See `LanguageModel.loss`; the end of a recording counts as a code of the first codebook."""
        sequence, mask = self.targets(codes, lengths, ended)
        wanted, mask = sequence[..., 1:], mask[..., 1:]
        used = mask.any(1)  # beyond an item's end there is nothing to learn
        columns = wanted.transpose(1, 2)[used].T[None]  # [1, rows, n]
        logits = self.head(self._read(sequence[..., :-1], told)[used][None], columns)
        there = mask.transpose(1, 2)[used].T  # [rows, n]
        losses = [
            F.cross_entropy(own[0, here].float(), ids[here], reduction="sum")
            for own, ids, here in zip(logits, columns[0], there, strict=True)
        ]
        return torch.stack(losses).sum() / mask.sum()

    def predicted(self, lengths: Tensor, ended: Tensor) -> int:
        """See `LanguageModel.predicted`."""
        return len(self.config.sizes) * int(lengths.sum()) + int(ended.sum())

    def targets(self, codes: Tensor, lengths: Tensor, ended: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sequence [batch, rows, columns] of codes and one frame more, and where the loss is taken."""
        frames = codes.shape[-1] + 1
        sequence = self.pattern.apply(F.pad(codes, (0, 1)), lengths)
        mask = self.pattern.loss_mask(frames, lengths)
        mask[ended, 0, self.pattern.initial + lengths[ended]] = True
        return sequence, mask

    def forward(self, sequence: Tensor, told: Sequence[str | None]) -> list[Tensor]:
        """Return the logits [batch, columns - 1, ids] of each row of the columns of a sequence after the first."""
        return self.head(self._read(sequence[..., :-1], told), sequence[..., 1:])

    def _read(self, columns: Tensor, told: Sequence[str | None]) -> Tensor:
        """Return what is known after each of the columns [batch, rows, n], as [batch, n, width]."""
        before, keep = self.prefix(self.prefix.ids(told).to(self.device))
        embedded = self._embed(columns)
        keep = F.pad(keep, (0, embedded.shape[1]), value=True)
        return self.body(torch.cat([before, embedded], dim=1), keep)[:, before.shape[1] :]

    def begin(self, told: Sequence[str | None]) -> "Reading":
        """Return what reads columns one by one, of a batch that is told something."""
        return Reading(self, told)

    def _embed(self, columns: Tensor) -> Tensor:
        parts = [table(row) for table, row in zip(self.tables, columns.unbind(1), strict=True)]
        return torch.stack(parts).sum(0)


class Reading:
    """A model at a place of a sequence: columns in, the next column out; no column is read twice."""

    def __init__(self, model: ColumnModel, told: Sequence[str | None]) -> None:
        self.model, self.cache = model, Cache()
        before, self.keep = model.prefix(model.prefix.ids(told).to(model.device))
        model.body(before, self.keep, self.cache)

    def push(self, columns: Tensor) -> Tensor:
        """Read columns [batch, rows, n] and return what the model knows after the last, [batch, width]."""
        embedded = self.model._embed(columns.to(self.model.device))
        self.keep = F.pad(self.keep, (0, columns.shape[-1]), value=True)
        return self.model.body(embedded, self.keep, self.cache)[:, -1]

    def choose(self, hidden: Tensor, choose: Choose) -> Tensor:
        """Return the next column [batch, rows], row after row as `choose` draws them."""
        return self.model.head.choose(hidden, choose)


class Rows(nn.Module):
    """Logits of each row straight from what the transformer knows."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        self.outward = nn.ModuleList([nn.Linear(config.width, size + 1) for size in config.sizes])

    def forward(self, hidden: Tensor, columns: Tensor) -> list[Tensor]:
        """Return logits [batch, n, ids] of each row, of what is known before each column [batch, n, width]."""
        return [head(hidden) for head in self.outward]

    def choose(self, hidden: Tensor, choose: Choose) -> Tensor:
        """Return a column [batch, rows]."""
        return torch.stack([choose(row, head(hidden)) for row, head in enumerate(self.outward)], dim=1)


class Depth(nn.Module):
    """A small transformer over the rows of a column, each of which sees those before it."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        width, sizes = config.depth_width, config.sizes
        self.inward = nn.Linear(config.width, width)
        self.tables = nn.ModuleList([nn.Embedding(size + 1, width) for size in sizes[:-1]])
        self.body = Transformer(width, config.depth_layers, config.heads, dropout=config.dropout)
        self.outward = nn.ModuleList([nn.Linear(width, size + 1) for size in sizes])

    def forward(self, hidden: Tensor, columns: Tensor) -> list[Tensor]:
        """Return logits [batch, n, ids] of each row, given hidden [batch, n, width] and columns [batch, rows, n]."""
        known = self.inward(hidden)
        before = [torch.zeros_like(known)]
        before += [table(row) for table, row in zip(self.tables, columns[:, :-1].unbind(1), strict=True)]
        x = known[:, :, None] + torch.stack(before, dim=2)
        rows = self.body(x.flatten(0, 1)).view(x.shape)
        return [head(rows[:, :, row]) for row, head in enumerate(self.outward)]

    def choose(self, hidden: Tensor, choose: Choose) -> Tensor:
        """Return a column [batch, rows], each row chosen in view of those before it."""
        known, cache, column = self.inward(hidden)[:, None], Cache(), []
        x = known
        for row, head in enumerate(self.outward):
            column.append(choose(row, head(self.body(x, cache=cache)[:, 0])))
            if row < len(self.tables):
                x = known + self.tables[row](column[row].to(known.device))[:, None]
        return torch.stack(column, dim=1)
