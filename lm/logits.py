"""Logits processors for `transformers.generate`: a model can only write what is audio in the place where it stands.

They are called as `processor(input_ids, scores)` and need nothing of transformers themselves:

    model.generate(ids, logits_processor=[VocabLogits(vocab)])
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..codecs.errors import ShapeError

if TYPE_CHECKING:
    from .pattern import Pattern
    from .vocab import Vocab


class VocabLogits:
    """Keeps sequences of one row in step.

    After a start token only codes of the place that is next can be written, and the end where a group is whole. Outside of
    audio no code can be written, and everything else can.
    """

    def __init__(self, vocab: "Vocab") -> None:
        if any(not section.start for section in vocab.sections):
            raise ShapeError("this vocabulary has no start tokens: without them nobody can tell where audio begins")
        self.vocab = vocab

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the scores [batch, vocabulary] of the next ids, -inf for those that cannot be."""
        allowed = torch.stack([self._allowed(row, scores.shape[-1]) for row in input_ids]).to(scores.device)
        return scores.masked_fill(~allowed, -torch.inf)

    def _allowed(self, ids: Tensor, size: int) -> Tensor:
        vocab = self.vocab
        for section in vocab.sections:
            start = (ids == vocab.specials[section.start]).nonzero()
            if len(start) and not self._ended(ids[int(start[-1]) + 1 :], section):
                written = len(ids) - 1 - int(start[-1])
                return self._inside(section, written % len(section.places), size)
        allowed = torch.ones(size, dtype=torch.bool)
        for bank in vocab.banks:
            allowed[bank.offset : bank.offset + bank.size] = False
        return allowed

    def _ended(self, ids: Tensor, section) -> bool:
        ends = [vocab_id for name, vocab_id in self.vocab.specials.items() if name == section.end]
        ends += [self.vocab.specials[other.start] for other in self.vocab.sections if other is not section]
        return bool(torch.isin(ids, torch.tensor(ends, device=ids.device)).any())

    def _inside(self, section, place: int, size: int) -> Tensor:
        bank = self.vocab.banks[section.places[place].bank]
        allowed = torch.zeros(size, dtype=torch.bool)
        allowed[bank.offset : bank.offset + bank.size] = True
        if place == 0 and section.end:
            allowed[self.vocab.specials[section.end]] = True
        return allowed


class PatternLogits:
    """Keeps sequences of several rows, [batch * rows, columns] as MusicGen's, in their pattern."""

    def __init__(self, pattern: "Pattern", frames: int | None = None, start: int = 0, fixed: bool = True) -> None:
        """Take a pattern with known sizes.

        Args:
            pattern: of the sequences.
            frames: in all, where that is known.
            start: columns before the pattern's first.
            fixed: choose the special tokens where they stand; False for models that put them there by themselves and have no
                logits for them, as MusicGen's `generate`.
        """
        self.pattern, self.frames, self.start, self.fixed = pattern, frames, start, fixed

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the scores [batch * rows, vocabulary] of the next column, -inf for ids that cannot be."""
        ranges = self.pattern.allowed_ids(input_ids.shape[-1] - self.start, self.frames)
        ids = torch.arange(scores.shape[-1], device=scores.device)
        allowed = torch.stack([(ids >= r.start) & (ids < r.stop) for r in ranges])
        if not self.fixed:
            allowed[[len(r) == 1 for r in ranges]] = True
        if not bool(allowed.any(1).all()):
            raise ShapeError(
                f"the model's vocabulary of {scores.shape[-1]} ids lacks the pattern's special tokens {self.pattern.special}: "
                "give it logits for them, or pass fixed=False where its generate puts them in place"
            )
        return scores.masked_fill(~allowed.repeat(len(scores) // len(ranges), 1), -torch.inf)
