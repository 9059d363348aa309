"""Layers of a bounded reach over a signal that comes in pieces: overlapping stretches, cut where their ends are uncertain."""

from collections.abc import Callable

import torch
from torch import Tensor


class Overlap:
    """Gives `run` of a whole signal in pieces, in memory that does not grow with it.

    Args:
        run: [batch, channels, n * enter] to [batch, channels, n * leave].
        enter, leave: input and output samples of a unit.
        context: units on either side that can change a unit's output.
        chunk: units that come out at once.
    """

    def __init__(self, run: Callable[[Tensor], Tensor], enter: int, leave: int, context: int, chunk: int) -> None:
        self.run, self.enter, self.leave, self.context, self.chunk = run, enter, leave, context, chunk
        self.held: Tensor | None = None
        self.known = 0  # units held whose output was given out

    def push(self, x: Tensor, last: bool = False) -> list[Tensor]:
        """Take the next samples and return the pieces of output that are now certain; the last make the whole whole units."""
        self.held = x if self.held is None else torch.cat([self.held, x], dim=-1)
        pieces = []
        while self.held.shape[-1] // self.enter > self.known + self.chunk + self.context:
            end = self.known + self.chunk
            pieces.append(self._run(end + self.context)[..., self.known * self.leave : end * self.leave])
            self.known = min(end, self.context)
            self.held = self.held[..., (end - self.known) * self.enter :].clone()
        if last and self.held.shape[-1] > self.known * self.enter:
            pieces.append(self._run(None)[..., self.known * self.leave :])
            self.held, self.known = None, 0
        return pieces

    def _run(self, units: int | None) -> Tensor:
        assert self.held is not None
        return self.run(self.held if units is None else self.held[..., : units * self.enter])
