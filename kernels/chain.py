"""Convolutions and ELU one after the other over short tiles of time in C, whose activations never leave the processor's cache.

PyTorch's calls, one layer at a time, write every activation of a long stretch to memory and read it again. The same products in
C took 330 ms in that order for 10 s of audio in EnCodec's encoder, on one core of an AMD EPYC (Zen 3), and 240 in tiles.
"""

import ctypes
from collections.abc import Sequence
from ctypes import c_size_t, c_void_p
from dataclasses import dataclass, field

from torch import Tensor
from torch.nn import functional as F

from . import native
from .errors import ShapeError

PANEL = 16  # columns of a matrix that lie side by side
SOURCES = 8  # of one product in C
ALIGNED = 16  # numbers of a line of the cache


class _Source(ctypes.Structure):
    _fields_ = (("rows", c_void_p), ("step", c_size_t), ("depth", c_size_t))


class _Product(ctypes.Structure):
    _fields_ = (
        ("source", _Source * SOURCES),
        *((name, c_size_t) for name in ("sources", "depth", "columns")),
        *((name, c_void_p) for name in ("panels", "bias", "onto", "out", "active")),
        *((name, c_size_t) for name in ("onto_step", "out_step", "active_step")),
    )


class _Step(ctypes.Structure):
    _fields_ = (
        ("product", _Product),
        ("rows", c_size_t),
        ("source_moves", c_size_t * SOURCES),
        *((name, c_size_t) for name in ("onto_moves", "out_moves", "kept", "mirrored")),
    )


@dataclass(frozen=True, eq=False)
class Rows:
    """What a step writes and others read.

    Attributes:
        width: numbers of a row.
        rows: a unit of time.
        kept: rows of the units before that stay in front.
    """

    width: int
    rows: int
    kept: int = 0


@dataclass(frozen=True)
class View:
    """Rows as a step reads them: `depth` numbers from `first` rows on (those kept are before 0), the next `step` rows later."""

    of: Rows
    depth: int
    first: int = 0
    step: int = 1


@dataclass(frozen=True)
class Step:
    """The sum of views times a matrix, of a bias and of `onto`: into `out`, and ELU of it into `active`.

    Attributes:
        rows: a unit of time.
        columns: of the matrix; rows of `out` may be several of it.
    """

    rows: int
    columns: int
    views: Sequence[View]
    panels: Tensor | None
    bias: Tensor | None = None
    onto: Rows | None = None
    out: Rows | None = None
    active: Rows | None = None


@dataclass
class Chain:
    """Steps in order, from rows `given` to rows `result`.

    Attributes:
        tile: units of time that go through all steps together.
    """

    given: Rows
    result: Rows
    tile: int
    steps: list[Step] = field(default_factory=list)

    @property
    def kept(self) -> list[Rows]:
        """Rows that are kept from call to call, in order."""
        return [step.active for step in self.steps if step.active is not None and step.active.kept]

    def run(self, x: Tensor, units: int, states: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the result [units * rows, width], and the new states; where `native.products` is there.

        Args:
            x: the rows given, those kept in front of them included.
            units: of time, as many as a tile or more where a state is empty, so that there is enough to mirror.
            states: [kept, width] of each of `kept`, or [0, width] where the first rows are mirrored instead.

        Raises:
            ShapeError: if the shapes are others.
        """
        self._check(x, units, states)
        library = native.reading(x, *states)
        if library is None:
            raise ShapeError(
                f"a chain takes contiguous rows of 32 bits on the CPU, and the kernels in C; got {x.dtype} on {x.device}"
            )
        memory, places = self._lay_out(x)
        for rows, state in zip(self.kept, states, strict=True):
            _before(memory, places[rows], rows)[: len(state)] = state
        out = x.new_empty(units * self.result.rows, self.result.width)
        starts = {rows: memory.data_ptr() + 4 * at for rows, at in places.items()}
        starts |= {self.given: x.data_ptr() + 4 * self.given.kept * self.given.width, self.result: out.data_ptr()}
        mirrored = {rows for rows, state in zip(self.kept, states, strict=True) if not len(state)}
        steps = (_Step * len(self.steps))()
        for to, step in zip(steps, self.steps, strict=True):
            self._fill(to, step, starts, mirrored)
        library.toneme_chain(steps, *map(c_size_t, (len(steps), units, self.tile)))
        return out, [_before(memory, places[rows], rows).clone() for rows in self.kept]

    def _lay_out(self, x: Tensor) -> tuple[Tensor, dict[Rows, int]]:
        """Return the memory of a tile, and where in it the first new row of each step's rows begins."""
        places, end = {}, 0
        for rows in (rows for step in self.steps for rows in (step.out, step.active)):
            if rows is not None and rows is not self.result and rows not in places:
                places[rows] = end + rows.kept * rows.width
                end = -(-(places[rows] + self.tile * rows.rows * rows.width) // ALIGNED) * ALIGNED
        return x.new_empty(end), places

    def _fill(self, to: _Step, step: Step, starts: dict[Rows, int], mirrored: set[Rows]) -> None:
        p, to.rows = to.product, step.rows
        p.sources, p.columns, p.depth = len(step.views), step.columns, sum(view.depth for view in step.views)
        p.panels, p.bias = (None if t is None else t.data_ptr() for t in (step.panels, step.bias))
        for n, view in enumerate(step.views):
            at = p.source[n]
            at.rows, at.step, at.depth = starts[view.of] + 4 * view.first * view.of.width, view.step * view.of.width, view.depth
            to.source_moves[n] = self._moves(view.of)
        if step.onto is not None:
            p.onto, p.onto_step, to.onto_moves = starts[step.onto], step.columns, self._moves(step.onto)
        if step.out is not None:
            p.out, p.out_step, to.out_moves = starts[step.out], step.columns, self._moves(step.out)
        if step.active is not None:
            p.active, p.active_step, to.kept = starts[step.active], step.columns, step.active.kept * step.active.width
            to.mirrored = step.active.width if step.active in mirrored else 0

    def _moves(self, rows: Rows) -> int:
        return rows.rows * rows.width if rows in (self.given, self.result) else 0

    def _check(self, x: Tensor, units: int, states: Sequence[Tensor]) -> None:
        fits = len(states) == len(self.kept) and x.shape == (self.given.kept + units * self.given.rows, self.given.width)
        if not fits or not all(self._takes(*pair, units) for pair in zip(states, self.kept, strict=True)):
            kept, shapes = [(rows.kept, rows.width) for rows in self.kept], [[*t.shape] for t in (x, *states)]
            raise ShapeError(f"{units} units of {self.given} with {kept} in front of the rest; got {shapes}")

    def _takes(self, state: Tensor, rows: Rows, units: int) -> bool:
        mirrors = not len(state) and min(units, self.tile) * rows.rows > rows.kept
        return state.shape[1:] == (rows.width,) and (mirrors or len(state) == rows.kept)


def pack(matrix: Tensor) -> Tensor:
    """Return a matrix [depth, columns] as panels [columns / 16, depth, 16] in order, the last filled up with zeros."""
    return F.pad(matrix, (0, -matrix.shape[1] % PANEL)).unflatten(1, (-1, PANEL)).transpose(0, 1).contiguous()


def _before(memory: Tensor, place: int, rows: Rows) -> Tensor:
    return memory[place - rows.kept * rows.width : place].view(rows.kept, rows.width)
