"""Writing a pattern step by step: what a model may choose, what is fixed, and which frames are complete."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..codecs.errors import ShapeError

if TYPE_CHECKING:
    from .pattern import Pattern


class Stepper:
    """Takes a model's choices column by column and gives frames as soon as all of their codes are there.

        stepper = pattern.generator(batch=1)
        while stepper.frames is None or stepper.step < pattern.n_columns(stepper.frames):
            frames = stepper.push(sample(model(stepper.sequence)))      # [batch, rows] -> [batch, codebooks, 0 or more]

    Set `frames` as soon as it is known how many there will be: the columns after the last frame then hold special tokens. It is
    set by itself where all items hold their special token in place of a code of the earliest codebook.

    Attributes:
        step: the column that is written next.
        frames: in all, None while that is not known.
        given: frames given out so far.
    """

    def __init__(self, pattern: "Pattern", batch: int = 1, frames: int | None = None) -> None:
        if frames is None and any(pattern.after):
            pattern.codebooks_at(0)  # says why that cannot be
        self.pattern, self.batch, self.frames, self.given = pattern, batch, frames, 0
        self._special = torch.tensor(pattern.special)
        self._columns: list[Tensor] = []
        self._stage, self._later = 1, None
        self._earliest = min(range(pattern.codebooks), key=lambda q: pattern.shifts[q])
        for _ in range(pattern.initial):
            self._columns.append(self._special.expand(batch, -1))

    @property
    def step(self) -> int:
        """The column that is written next."""
        return len(self._columns)

    @property
    def sequence(self) -> Tensor:
        """What is written so far, [batch, rows, columns]."""
        return torch.stack(self._columns, dim=-1) if self._columns else torch.zeros(self.batch, self.pattern.n_rows, 0).long()

    def none(self) -> Tensor:
        """Return no frames, [batch, codebooks, 0]."""
        return torch.zeros(self.batch, self.pattern.codebooks, 0, dtype=torch.int64)

    def fixed(self) -> Tensor:
        """Return the next column [rows] where it holds special tokens, -1 where the model chooses."""
        at = torch.tensor(self._chosen())
        return torch.where(at < 0, self._special, -1)

    def push(self, column: Tensor) -> Tensor:
        """Take the next column [batch, rows] and return the frames that it completes [batch, codebooks, n].

        What stands where the pattern holds special tokens is replaced by them.

        Raises:
            ShapeError: if the column is of another shape, or a code out of its codebook's range.
        """
        column = column.to("cpu", torch.int64)
        if tuple(column.shape) != (self.batch, self.pattern.n_rows):
            raise ShapeError(f"a column is [{self.batch}, {self.pattern.n_rows}]; got {list(column.shape)}")
        if self.frames is None and self._ends(column):
            self.frames = (self.step - self.pattern._column(self._earliest, 0, 0)) // self.pattern.period
        chosen = self._chosen()
        for row, q in enumerate(chosen):
            size = self.pattern.sizes[q]
            if q >= 0 and size and bool(((column[:, row] < 0) | (column[:, row] >= size)).any()):
                raise ShapeError(
                    f"codes of codebook {q} must be from 0 to {size - 1}; got {column[:, row].tolist()} at step {self.step}: "
                    "limit the model's choice with allowed_ids"
                )
        self._columns.append(torch.where(torch.tensor(chosen) < 0, self._special, column))
        return self._complete()

    def fill(self, codes: Tensor) -> Tensor:
        """Take the codes of the next stage for all frames [batch, its codebooks, frames]; return all codes after the last.

        Raises:
            ShapeError: if the pattern has no more stages or the shape is another.
        """
        own = [q for q, stage in enumerate(self.pattern.stages) if stage == self._stage]
        known = self._first_stage() if self._later is None else self._later
        if not own or tuple(codes.shape) != (self.batch, len(own), known.shape[-1]):
            raise ShapeError(
                f"stage {self._stage} takes codes [{self.batch}, {len(own)}, {known.shape[-1]}]; got {list(codes.shape)}"
            )
        self._later = known.clone()
        self._later[:, own] = codes.to("cpu", torch.int64)
        self._stage += 1
        if self._stage <= max(self.pattern.stages):
            return self._later[..., :0]
        self.pattern.check_range(self._later)
        return self._later

    def _chosen(self) -> list[int]:
        at = self.pattern.codebooks_at(self.step, self.frames)
        return [q if q >= 0 and not self.pattern.stages[q] else -1 for q in at]

    def _ends(self, column: Tensor) -> bool:
        row, size = self.pattern.rows[self._earliest], self.pattern.sizes[self._earliest]
        special = self.pattern.special[row]
        expected = self._chosen()[row] == self._earliest
        return expected and not 0 <= special < size and bool((column[:, row] == special).all())

    def _complete(self) -> Tensor:
        pattern = self.pattern
        last = max(pattern._column(q, 0, self.frames or 0) for q in range(pattern.codebooks))
        ready = max(self.given, (self.step - 1 - last) // pattern.period + 1)
        ready = ready if self.frames is None else min(ready, self.frames)
        if any(pattern.stages) or ready == self.given:
            return self.none()
        codes = self._gather(self.given, ready)
        self.given = ready
        return codes

    def _first_stage(self) -> Tensor:
        pattern = self.pattern
        codes = self._gather(0, self.step - pattern.initial)
        codes[:, [q for q, stage in enumerate(pattern.stages) if stage]] = 0
        return codes

    def _gather(self, start: int, stop: int) -> Tensor:
        pattern, written = self.pattern, self.sequence
        columns = pattern.columns(self.frames or stop, written.device)[:, start:stop]
        return written[:, torch.tensor(pattern.rows)[:, None], columns]
