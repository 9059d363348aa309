"""Text and audio in turns, in one row: so many text tokens, so many frames, and again."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..codecs.errors import ShapeError


@dataclass(frozen=True)
class Interleaving:
    """Turns of `text` text tokens and `frames` frames of audio, each frame its codebooks one after the other.

    When one of the two ends, all that is left of the other follows. Codes are written as ids: `offset` of the vocabulary
    beside the text's ids, codebook after codebook.

    Attributes:
        sizes: codes of each codebook.
        text: text tokens in a turn.
        frames: frames in a turn.
    """

    sizes: tuple[int, ...]
    text: int
    frames: int

    def __post_init__(self) -> None:
        if self.text < 1 or self.frames < 1 or not all(self.sizes):
            raise ShapeError(
                f"turns need at least one text token and one frame, and sizes of the codebooks; got {self.text}, {self.frames} "
                f"and sizes {list(self.sizes)}"
            )

    def order(self, n_text: int, n_frames: int) -> tuple[Tensor, Tensor]:
        """Return the position in the sequence of each text token [n_text] and of each code [codebooks, n_frames]."""
        width, words, frames = len(self.sizes), torch.arange(n_text), torch.arange(n_frames)
        frames_before = (words // self.text * self.frames).clamp(max=n_frames)
        words_before = ((frames // self.frames + 1) * self.text).clamp(max=n_text)
        return words + width * frames_before, (words_before + width * frames) + torch.arange(width)[:, None]

    def apply(self, codes: Tensor, text: Tensor, offset: int) -> Tensor:
        """Return one sequence of ids [batch, n].

        Args:
            codes: int64 [batch, codebooks, frames].
            text: ids [batch, tokens], below `offset`.
            offset: id of code 0 of the first codebook.

        Raises:
            ShapeError: if shapes or ids do not fit.
        """
        if codes.ndim != 3 or codes.shape[1] != len(self.sizes) or text.ndim != 2 or len(text) != len(codes):
            raise ShapeError(
                f"this pattern takes codes [batch, {len(self.sizes)}, frames] and text [batch, tokens]; "
                f"got {list(codes.shape)} and {list(text.shape)}"
            )
        if text.numel() and not 0 <= int(text.min()) <= int(text.max()) < offset:
            raise ShapeError(f"ids of text must be from 0 to {offset - 1}; got {int(text.min())} to {int(text.max())}")
        if bool(((codes < 0) | (codes >= self._column(codes.device, self.sizes))).any()):
            raise ShapeError(f"codes must be within the codebooks' sizes {list(self.sizes)}; got up to {int(codes.max())}")
        words, cells = self.order(text.shape[1], codes.shape[2])
        out = text.new_zeros(len(text), text.shape[1] + codes[0].numel())
        out[:, words] = text
        out[:, cells.flatten()] = (codes + self._column(codes.device, self._offsets(offset))).flatten(1)
        return out

    def revert(self, sequence: Tensor, offset: int) -> tuple[Tensor, Tensor]:
        """Return the codes [batch, codebooks, frames] and the text [batch, tokens] of a sequence.

        Raises:
            ShapeError: if the sequence does not follow the pattern.
        """
        audio = sequence >= offset
        n_audio = int(audio[0].sum()) if len(audio) else 0
        n_text, width = sequence.shape[1] - n_audio, len(self.sizes)
        words, cells = self.order(n_text, n_audio // width)
        if n_audio % width or bool((audio.sum(1) != n_audio).any()) or bool(audio[:, words].any()):
            raise ShapeError(
                f"the sequence does not take turns of {self.text} text tokens and {self.frames} frames of {width} codes: cut it"
            )
        codes = sequence[:, cells] - self._column(sequence.device, self._offsets(offset))
        if bool(((codes < 0) | (codes >= self._column(codes.device, self.sizes))).any()):
            raise ShapeError("codes of the sequence stand in places of other codebooks: it is out of step")
        return codes, sequence[:, words]

    def loss_mask(self, n_text: int, n_frames: int, text: bool = True, audio: bool = True) -> Tensor:
        """Return bool [1, n], true for the text tokens, the codes, or both."""
        words, cells = self.order(n_text, n_frames)
        out = torch.zeros(1, n_text + cells.numel(), dtype=torch.bool)
        out[:, words], out[:, cells.flatten()] = text, audio
        return out

    def allowed_ids(self, step: int, offset: int, n_text: int | None = None) -> range:
        """Return the ids that position `step` may hold; `n_text` says how many text tokens there are, where that is known."""
        width = len(self.sizes)
        turn = self.text + self.frames * width
        if n_text is not None and step >= n_text // self.text * turn:  # the last turn of text, which may be short or empty
            step -= n_text // self.text * turn
            if step < n_text % self.text:
                return range(offset)
            return self._codes(step - n_text % self.text, offset)
        within = step % turn
        return range(offset) if within < self.text else self._codes(within - self.text, offset)

    def generator(self, offset: int, batch: int = 1, n_text: int | None = None) -> "Turns":
        """Return what takes a model's ids one by one and gives the frames that are complete."""
        return Turns(self, offset, batch, n_text)

    def _codes(self, place: int, offset: int) -> range:
        q = place % len(self.sizes)
        return range(self._offsets(offset)[q], self._offsets(offset)[q] + self.sizes[q])

    def _offsets(self, offset: int) -> tuple[int, ...]:
        return tuple(offset + sum(self.sizes[:q]) for q in range(len(self.sizes)))

    def _column(self, device: torch.device, values: tuple[int, ...]) -> Tensor:
        return torch.tensor(values, device=device)[:, None]


class Turns:
    """Takes ids one after the other and gives each frame as soon as its last code is there.

        turns = pattern.generator(offset=32000)
        while turns.step < most:
            frames = turns.push(sample(model(turns.sequence), turns.allowed()))     # [batch] -> [batch, codebooks, 0 or 1]

    Attributes:
        n_text: text tokens in all, None while that is not known; audio alone follows them.
    """

    def __init__(self, pattern: Interleaving, offset: int, batch: int = 1, n_text: int | None = None) -> None:
        self.pattern, self.offset, self.batch, self.n_text = pattern, offset, batch, n_text
        self._ids: list[Tensor] = []
        self._frame: list[Tensor] = []

    @property
    def step(self) -> int:
        """The position that is written next."""
        return len(self._ids)

    @property
    def sequence(self) -> Tensor:
        """What is written so far, [batch, n]."""
        return torch.stack(self._ids, dim=1) if self._ids else torch.zeros(self.batch, 0, dtype=torch.int64)

    def allowed(self) -> range:
        """Return the ids that may be written next."""
        return self.pattern.allowed_ids(self.step, self.offset, self.n_text)

    def push(self, ids: Tensor) -> Tensor:
        """Take the next id of each item [batch] and return the frame that they complete, [batch, codebooks, 0 or 1].

        Raises:
            ShapeError: if ids are of another shape, or cannot stand there.
        """
        ids, allowed = ids.to("cpu", torch.int64), self.allowed()
        if tuple(ids.shape) != (self.batch,) or bool(((ids < allowed.start) | (ids >= allowed.stop)).any()):
            raise ShapeError(
                f"position {self.step} takes {self.batch} ids from {allowed.start} to {allowed.stop - 1}; got {ids.tolist()}: "
                "limit the model's choice with allowed()"
            )
        self._ids.append(ids)
        if allowed.start >= self.offset:
            self._frame.append(ids - allowed.start)
        if len(self._frame) < len(self.pattern.sizes):
            return ids.new_zeros(self.batch, len(self.pattern.sizes), 0)
        frame, self._frame = torch.stack(self._frame, dim=1)[..., None], []
        return frame
