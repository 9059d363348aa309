"""`Pattern`: in which order a language model writes the codebooks of a codec, as data.

A pattern places code q of frame t in row `rows[q]` at column `initial + shifts[q] + after[q] * frames + period * t`; cells
where no code stands hold the row's special token. Sources: Copet et al., "Simple and Controllable Music Generation", 2023
(parallel, delay, partial delay, flatten, coarse first); Wang et al., "Neural Codec Language Models are Zero-Shot Text to
Speech Synthesizers", 2023 (AR and NAR); Défossez et al., "Moshi", 2024 (several streams).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..codecs.errors import ShapeError

if TYPE_CHECKING:
    from .interleaving import Interleaving
    from .stepping import Stepper

Codebooks = int | Sequence[int]  # how many, or the size of each


@dataclass(frozen=True)
class Pattern:
    """Where each code of each frame stands in the sequence [batch, rows, columns].

    Attributes:
        sizes: codes of each codebook, 0 where unknown.
        rows: row of each codebook.
        shifts: columns by which each codebook is late.
        after: how many times all frames come before each codebook (coarse first).
        period: columns per frame.
        initial: columns of special tokens at the start, which a model needs to predict the first codes.
        tail: whether columns follow for the late codebooks of the last frames; without, these codes are left out (Moshi).
        stages: 0 for codebooks written column by column; those of a later stage are written for all frames at once.
        special: token of each row for cells without a code; -1 where it was not said and sizes are unknown.
        names: name of each stream and its codebooks, where there are several streams.
    """

    sizes: tuple[int, ...]
    rows: tuple[int, ...]
    shifts: tuple[int, ...]
    after: tuple[int, ...]
    period: int
    initial: int
    tail: bool
    stages: tuple[int, ...]
    special: tuple[int, ...]
    names: tuple[tuple[str, tuple[int, ...]], ...] = ()

    # -- kinds --------------------------------------------------------------------------------------------------

    @classmethod
    def delay(
        cls,
        codebooks: Codebooks,
        delays: Sequence[int] | None = None,
        initial: int = 1,
        special: int | None = None,
        tail: bool = True,
    ) -> "Pattern":
        """Return the pattern where each codebook is a column later than the one before (MusicGen), or late by `delays`."""
        sizes = _sizes(codebooks)
        shifts = range(len(sizes)) if delays is None else delays
        return _build(sizes, tuple(shifts), initial=initial, special=special, tail=tail)

    @classmethod
    def parallel(cls, codebooks: Codebooks, initial: int = 1, special: int | None = None) -> "Pattern":
        """Return the pattern where a column holds all codes of a frame."""
        return _build(_sizes(codebooks), initial=initial, special=special)

    @classmethod
    def partial_delay(cls, codebooks: Codebooks, delay: int = 1, initial: int = 1, special: int | None = None) -> "Pattern":
        """Return the pattern where the first codebook comes `delay` columns before all others, which are parallel."""
        sizes = _sizes(codebooks)
        return _build(sizes, (0,) + (delay,) * (len(sizes) - 1), initial=initial, special=special)

    @classmethod
    def flatten(
        cls, codebooks: Codebooks, groups: Sequence[int] | None = None, initial: int = 1, special: int | None = None
    ) -> "Pattern":
        """Return the pattern of one code a column, frame after frame.

        Args:
            codebooks: how many, or the size of each.
            groups: the column of each codebook within a frame; codebooks that share one are parallel, in rows of their own
                (partial flattening). By default all are one after the other in one row.
            initial: columns of special tokens at the start.
            special: their token.
        """
        sizes = _sizes(codebooks)
        shifts = tuple(range(len(sizes)) if groups is None else groups)
        rows = (0,) * len(sizes) if groups is None else tuple(range(len(sizes)))
        return _build(sizes, shifts, rows=rows, period=max(shifts) + 1, initial=initial, special=special)

    @classmethod
    def coarse_first(cls, codebooks: Codebooks, coarse: int = 1, initial: int = 1, special: int | None = None) -> "Pattern":
        """Return the pattern where the first `coarse` codebooks of all frames come before the others, each half in parallel.

        How many frames there are must be known before the first fine code is written.
        """
        sizes = _sizes(codebooks)
        if not 1 <= coarse <= len(sizes):
            raise ShapeError(f"from 1 to {len(sizes)} of {len(sizes)} codebooks can be coarse; got {coarse}")
        after = tuple(int(q >= coarse) for q in range(len(sizes)))
        return _build(sizes, after=after, initial=initial, special=special)

    @classmethod
    def ar_nar(cls, codebooks: Codebooks, initial: int = 1, special: int | None = None) -> "Pattern":
        """Return VALL-E's pattern: the first codebook column by column, then each other for all frames at once."""
        sizes = _sizes(codebooks)
        return _build(sizes, stages=tuple(range(len(sizes))), initial=initial, special=special)

    @classmethod
    def multi_stream(
        cls,
        streams: Mapping[str, Codebooks],
        delays: Mapping[str, int | Sequence[int]] | None = None,
        initial: int = 1,
        tail: bool = True,
        alternate: bool = False,
    ) -> "Pattern":
        """Return the pattern of several streams side by side.

        Args:
            streams: name -> its codebooks: how many, or the size of each.
            delays: name -> columns by which it, or each of its codebooks, is late; 0 by default.
            initial: columns of special tokens at the start.
            tail: whether columns follow for the late codebooks of the last frames.
            alternate: order rows by codebook, then by stream (MusicGen's stereo), instead of stream after stream.
        """
        sizes = {name: _sizes(books) for name, books in streams.items()}
        if not sizes or (strange := set(delays or {}) - set(sizes)):
            what = f"delays of {', '.join(sorted(strange))}" if sizes else "no delays"
            raise ShapeError(
                f"a pattern of streams needs at least one, and delays of those alone; got {list(sizes)} and {what}"
            )
        cells = [(name, q) for name, own in sizes.items() for q in range(len(own))]
        if alternate:
            cells.sort(key=lambda cell: cell[1])
        late = {name: _delays((delays or {}).get(name, 0), len(own), name) for name, own in sizes.items()}
        names = tuple((name, tuple(i for i, cell in enumerate(cells) if cell[0] == name)) for name in streams)
        return _build(
            tuple(sizes[name][q] for name, q in cells), tuple(late[name][q] for name, q in cells),
            initial=initial, tail=tail, names=names,
        )  # fmt: skip

    @classmethod
    def stereo(cls, codebooks: Codebooks, initial: int = 1) -> "Pattern":
        """Return MusicGen's stereo pattern: rows left 0, right 0, left 1, right 1 and so on, delayed in pairs."""
        books = _sizes(codebooks)
        late = tuple(range(len(books)))
        return cls.multi_stream({"left": books, "right": books}, {"left": late, "right": late}, initial, alternate=True)

    @classmethod
    def moshi(cls, text: int = 32000, codebooks: Codebooks = (2048,) * 8) -> "Pattern":
        """Return Moshi's pattern: text, then the codebooks of the model's voice, then the user's; fine ones a column late."""
        late = (0,) + (1,) * (len(_sizes(codebooks)) - 1)
        streams = {"text": (text,), "agent": codebooks, "user": codebooks}
        return cls.multi_stream(streams, {"agent": late, "user": late}, tail=False)

    @classmethod
    def interleaved(cls, codebooks: Codebooks, text: int, frames: int) -> "Interleaving":
        """Return the pattern of `text` text tokens and `frames` frames of audio in turns, in one row."""
        from .interleaving import Interleaving

        return Interleaving(_sizes(codebooks), text, frames)

    # -- where codes stand --------------------------------------------------------------------------------------

    @property
    def codebooks(self) -> int:
        """Codebooks of all streams."""
        return len(self.sizes)

    @property
    def n_rows(self) -> int:
        """Rows of a sequence."""
        return max(self.rows) + 1

    def n_columns(self, frames: int) -> int:
        """Return the columns of a sequence of so many frames."""
        if not frames:
            return self.initial
        if not self.tail:
            return self.initial + frames * self.period
        return 1 + max(self._column(q, frames - 1, frames) for q in range(self.codebooks))

    def n_frames(self, columns: int) -> int:
        """Return the frames that a sequence of so many columns holds.

        Raises:
            ShapeError: if no number of frames gives that many columns.
        """
        if columns == self.initial:
            return 0
        if not self.tail:
            frames = (columns - self.initial) // self.period
        else:
            left = columns - 1 - self.initial + self.period
            frames = min((left - s) // (self.period + a) for s, a in zip(self.shifts, self.after, strict=True))
        if frames < 0 or self.n_columns(frames) != columns:
            raise ShapeError(f"{columns} columns are no whole number of frames in this pattern: cut or complete the sequence")
        return frames

    def columns(self, frames: int, device: torch.device | str | None = None) -> Tensor:
        """Return the column of every code, int64 [codebooks, frames]."""
        start = torch.tensor([self._column(q, 0, frames) for q in range(self.codebooks)], device=device)
        return start[:, None] + self.period * torch.arange(frames, device=device)

    def codebooks_at(self, step: int, frames: int | None = None) -> list[int]:
        """Return the codebook that each row holds in column `step`, -1 where it holds none.

        Args:
            step: the column.
            frames: in all, where that is known; codes of later frames are then not expected.

        Raises:
            ShapeError: if the pattern cannot be told without the number of frames.
        """
        if frames is None and any(self.after):
            raise ShapeError("this pattern writes one codebook after all frames of another: say how many frames there are")
        out = [-1] * self.n_rows
        for q, row in enumerate(self.rows):
            place = step - self._column(q, 0, frames or 0)
            if place >= 0 and place % self.period == 0 and (frames is None or place // self.period < frames):
                out[row] = q
        return out

    def allowed_ids(self, step: int, frames: int | None = None) -> list[range]:
        """Return the ids that each row may hold in column `step`: its codebook's codes, or only its special token.

        Of a pattern with stages, columns beyond the last are the stages after the first: ids of all frames of their rows.

        Raises:
            ShapeError: if the sizes of the codebooks, or the number of frames where it is needed, are not known.
        """
        if not all(self.sizes):
            raise ShapeError("the sizes of the codebooks are not known: make the pattern with sizes, not with a number")
        if any(self.stages):
            return self._allowed_in_stages(step, frames)
        return [self._allowed(row, q) for row, q in enumerate(self.codebooks_at(step, frames))]

    def _allowed(self, row: int, q: int) -> range:
        return range(self.sizes[q]) if q >= 0 else range(self.special[row], self.special[row] + 1)

    def _allowed_in_stages(self, step: int, frames: int | None) -> list[range]:
        stage = 0 if frames is None else max(0, step - self.n_columns(frames) + 1)
        at = self.codebooks_at(step, frames) if not stage else list(range(self.codebooks))
        return [self._allowed(row, q if q >= 0 and self.stages[q] == stage else -1) for row, q in enumerate(at)]

    def _column(self, q: int, frame: int, frames: int) -> int:
        return self.initial + self.shifts[q] + self.after[q] * frames + self.period * frame

    # -- sequences ----------------------------------------------------------------------------------------------

    def apply(self, codes: Tensor | Mapping[str, Tensor], lengths: Tensor | None = None) -> Tensor:
        """Return codes as a sequence [batch, rows, columns].

        Args:
            codes: int64 [batch, codebooks, frames], or name -> codes of each stream.
            lengths: frames in use of each item; special tokens stand for the others.

        Raises:
            ShapeError: if the codes do not fit the pattern.
        """
        codes = self.join(codes) if isinstance(codes, Mapping) else codes
        if codes.ndim != 3 or codes.shape[1] != self.codebooks:
            raise ShapeError(f"this pattern takes codes [batch, {self.codebooks}, frames]; got {list(codes.shape)}")
        self.check_range(codes)
        batch, _, frames = codes.shape
        special = torch.tensor(self.special, device=codes.device, dtype=codes.dtype)
        if lengths is not None:
            own = special[torch.tensor(self.rows, device=codes.device)]
            codes = torch.where(_used(frames, lengths)[:, None], codes, own[:, None])
        columns = self.n_columns(frames)
        out = special[:, None].repeat(batch, 1, columns)
        cells, there = self._cells(frames, columns, codes.device)
        out.flatten(1)[:, cells[there]] = codes[:, there]
        return out

    def revert(self, sequence: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the codes [batch, codebooks, frames] that a sequence [batch, rows, columns] holds.

        Without `tail`, the last frames, whose late codes are not there, are left out.

        Args:
            sequence: as `apply` writes it; [batch, columns] is taken where there is one row.
            lengths: frames in use of each item; codes of the others are 0.

        Raises:
            ShapeError: if the sequence is of another shape, or another token stands where a code is expected.
        """
        sequence = sequence[:, None] if sequence.ndim == 2 and self.n_rows == 1 else sequence
        codes, there = self.revert_values(sequence)
        codes = codes[..., : int(there.all(0).sum())]
        if lengths is not None:
            codes = codes.masked_fill(~_used(codes.shape[-1], lengths)[:, None], 0)
        self.check_range(codes)
        return codes

    def revert_values(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return values of cells [batch, rows, columns, ...], logits say, in the order of the codes.

        Returns:
            Values [batch, codebooks, frames, ...], and bool [codebooks, frames] that says for which of them there is a cell.
        """
        if values.ndim < 3 or values.shape[1] != self.n_rows:
            raise ShapeError(f"this pattern takes sequences [batch, {self.n_rows}, columns]; got {list(values.shape)}")
        columns = values.shape[2]
        frames = self.n_frames(columns)
        cells, there = self._cells(frames, columns, values.device)
        return values.flatten(1, 2)[:, cells.clamp(max=self.n_rows * columns - 1)], there

    def loss_mask(self, frames: int, lengths: Tensor | None = None, stage: int | None = None) -> Tensor:
        """Return bool [batch, rows, columns], true for cells of codes that a model is to predict; batch is 1 without lengths.

        Args:
            frames: of the longest item.
            lengths: frames in use of each item.
            stage: only of the codebooks of this stage.
        """
        device = None if lengths is None else lengths.device
        used = torch.ones(1, frames, dtype=torch.bool) if lengths is None else _used(frames, lengths)
        stages = torch.tensor(self.stages, device=device)
        wanted = used[:, None] & (torch.ones_like(stages) if stage is None else stages == stage).bool()[:, None]
        columns = self.n_columns(frames)
        cells, there = self._cells(frames, columns, device)
        out = torch.zeros(len(used), self.n_rows, columns, dtype=torch.bool, device=device)
        out.flatten(1)[:, cells[there]] = wanted[:, there]
        return out

    def visible(self, stage: int) -> list[int]:
        """Return the codebooks that are there already when `stage` is written."""
        return [q for q, own in enumerate(self.stages) if own < stage]

    def generator(self, batch: int = 1, frames: int | None = None) -> "Stepper":
        """Return what takes a model's output column by column and gives the frames that are complete."""
        from .stepping import Stepper

        return Stepper(self, batch, frames)

    def join(self, streams: Mapping[str, Tensor]) -> Tensor:
        """Return codes of named streams [batch, own codebooks, frames] as [batch, codebooks, frames].

        Raises:
            ShapeError: if a stream is missing or unknown.
        """
        if set(streams) != {name for name, _ in self.names}:
            raise ShapeError(f"this pattern's streams are {[name for name, _ in self.names]}; got {list(streams)}")
        order = torch.tensor([q for _, own in self.names for q in own])
        return torch.cat([streams[name] for name, _ in self.names], dim=1)[:, order.argsort()]

    def split(self, codes: Tensor) -> dict[str, Tensor]:
        """Return codes [batch, codebooks, frames] by stream."""
        return {name: codes[:, list(own)] for name, own in self.names}

    def _cells(self, frames: int, columns: int, device: torch.device | str | None) -> tuple[Tensor, Tensor]:
        """Return row * columns + column of every code [codebooks, frames], and which of them lie within the columns."""
        at = self.columns(frames, device)
        return torch.tensor(self.rows, device=device)[:, None] * columns + at, at < columns

    def check_range(self, codes: Tensor) -> None:
        """Raise ShapeError for codes [batch, codebooks, frames] that are out of their codebook's range."""
        if not codes.numel() or not all(self.sizes):
            return
        wrong = (codes < 0) | (codes >= torch.tensor(self.sizes, device=codes.device)[:, None])
        if bool(wrong.any()):
            item, q, frame = wrong.nonzero()[0].tolist()
            raise ShapeError(
                f"codes of codebook {q} must be from 0 to {self.sizes[q] - 1}; got {int(codes[item, q, frame])} "
                f"in frame {frame} of item {item}: the sequence is cut or out of step"
            )


def _used(frames: int, lengths: Tensor) -> Tensor:
    return torch.arange(frames, device=lengths.device) < lengths[:, None]


def _sizes(codebooks: Codebooks) -> tuple[int, ...]:
    sizes = (0,) * codebooks if isinstance(codebooks, int) else tuple(codebooks)
    if not sizes or min(sizes) < 0:
        raise ShapeError(
            f"a pattern needs at least one codebook, of 1 code or more (0 where unknown); got {list(sizes) or 'none'}"
        )
    return sizes


def _delays(delays: int | Sequence[int], codebooks: int, name: str) -> tuple[int, ...]:
    each = (delays,) * codebooks if isinstance(delays, int) else tuple(delays)
    if len(each) != codebooks:
        raise ShapeError(f"stream {name} has {codebooks} codebooks; got {len(each)} delays")
    return each


def _build(
    sizes: tuple[int, ...],
    shifts: tuple[int, ...] = (),
    *,
    rows: tuple[int, ...] = (),
    after: tuple[int, ...] = (),
    stages: tuple[int, ...] = (),
    period: int = 1,
    initial: int = 1,
    special: int | None = None,
    tail: bool = True,
    names: tuple[tuple[str, tuple[int, ...]], ...] = (),
) -> Pattern:
    none = (0,) * len(sizes)
    rows, shifts = rows or tuple(range(len(sizes))), shifts or none
    if len(shifts) != len(sizes) or min(shifts) < 0 or initial < 0:
        raise ShapeError(f"{len(sizes)} codebooks need as many delays of 0 or more; got {list(shifts)} and initial {initial}")
    owners = [[size for size, row in zip(sizes, rows, strict=True) if row == r] for r in range(max(rows) + 1)]
    default = tuple(max(own) if all(own) else -1 for own in owners)
    chosen = default if special is None else (special,) * len(owners)
    return Pattern(sizes, rows, shifts, after or none, period, initial, tail, stages or none, chosen, names)
