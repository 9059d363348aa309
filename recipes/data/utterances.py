"""Whole recordings of speech with their transcripts, in batches by number, for a model that learns what is said."""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from ...codecs.errors import AudioError
from ...codecs.teachers import HOP, mel_spectra
from ..errors import DataError
from .items import Items

BLANK, GAP = "<pad>", "|"  # that stand for no letter and for the space between words, as tokenizers of transformers have them
TOO_FAST = 0.9  # letters per frame: CTC needs a frame for each, and another between two alike


@dataclass(frozen=True)
class Utterances:
    """A batch.

    Attributes:
        spectra: [batch, frames, 160], zeros after each one's end.
        heard: bool [batch, frames], what is before it.
        letters: int64 [all letters], of one recording after another.
        counts: int64 [batch], of letters.
    """

    spectra: Tensor
    heard: Tensor
    letters: Tensor
    counts: Tensor

    @property
    def frames(self) -> Tensor:
        """Of each recording, int64 [batch]."""
        return self.heard.sum(1)


class Transcripts:
    """All recordings of which is known what is said, and which are no longer than an item.

    Recordings of about the same length share a batch, so that little of it is padding; which these are, and in what order
    batches come, is drawn anew for every epoch.

    Args:
        items: whose recordings these are, mono at 16 kHz; `items.seconds` is the length that they may have.
        apart: share of recordings that are in no batch, by which the model is measured.
        say: gets a line about each recording that cannot be read after all.

    Raises:
        DataError: if fewer than two recordings are left.
    """

    def __init__(self, items: Items, apart: float, say: Callable[[str], None] = print) -> None:
        texts = [plain(part.text) for part in items.recordings]
        lengths = [items.length(number) for number in range(len(texts))]
        rate = items.sample_rate / HOP
        usable = [
            number
            for number, (text, seconds) in enumerate(zip(texts, lengths, strict=True))
            if text and seconds <= items.seconds and len(text) <= TOO_FAST * seconds * rate
        ]
        if len(usable) < 2:
            raise DataError(
                f"{len(usable)} of {len(texts)} recordings have a transcript and at most {items.seconds:g} s: give data.train "
                "a manifest with a column text, or raise seconds"
            )
        self.items, self.texts, self.seed = items, texts, items.seed
        self.symbols = (BLANK, *sorted({letter for number in usable for letter in texts[number]}))
        self.places = {symbol: place for place, symbol in enumerate(self.symbols)}
        drawn = np.random.default_rng((items.seed, 2)).permutation(usable)
        self.apart = drawn[: min(max(1, round(apart * len(drawn))), len(drawn) - 1)].tolist()
        learned = drawn[len(self.apart) :]
        self.learned = learned[np.argsort([lengths[number] for number in learned], kind="stable")]
        self.say, self.failures = say, set[int]()
        self._epoch, self._plan = (-1, 0), [np.zeros(0, np.int64)]

    def batch(self, number: int, count: int) -> Utterances:
        """Return batch `number` of at most `count` recordings, the same ones whenever they are asked for."""
        return self.gather(self._numbers(number, min(count, len(self.learned))).tolist())

    def gather(self, numbers: Sequence[int]) -> Utterances:
        """Return recordings as a batch, without those that cannot be read.

        Raises:
            DataError: if that is none.
        """
        read = [(found, self._letters(number)) for number in numbers if (found := self._spectra(number)) is not None]
        if not read:
            raise DataError(f"none of the {len(numbers)} recordings of a batch can be read: check data.train")
        spectra, letters = [found for found, _ in read], [told for _, told in read]
        frames = torch.tensor([len(part) for part in spectra])
        heard = torch.arange(int(frames.max())) < frames[:, None]
        counts = torch.tensor([len(part) for part in letters])
        return Utterances(pad_sequence(spectra, batch_first=True), heard, torch.cat(letters), counts)

    def _numbers(self, number: int, count: int) -> np.ndarray:
        """Which recordings a batch is of; the plan of an epoch is kept until another is asked for."""
        each = max(1, len(self.learned) // count)
        epoch, place = divmod(number, each)
        if (epoch, count) != self._epoch:
            drawn = np.random.default_rng((self.seed, 3, epoch))
            first = drawn.integers(0, len(self.learned) - each * count + 1)
            self._plan = [self.learned[first + n * count :][:count] for n in drawn.permutation(each)]
            self._epoch = (epoch, count)
        return self._plan[place]

    def _spectra(self, number: int) -> Tensor | None:
        """Spectra of a recording as a `Teacher` hears them, [frames, 160]; none where it cannot be read, which is said once."""
        try:
            heard = torch.from_numpy(self.items.read(number, 0.0, self.items.length(number)))
        except AudioError as error:
            if number not in self.failures:
                self.say(f"{self.items.recordings[number].name} is left out: {error}")
            self.failures.add(number)
            return None
        return mel_spectra(pad(heard, (HOP // 2, HOP // 2)))[0]

    def _letters(self, number: int) -> Tensor:
        return torch.tensor([self.places[letter] for letter in self.texts[number]])


def plain(text: str) -> str:
    """Return a text in small letters without anything else, words parted by `GAP`."""
    small = unicodedata.normalize("NFC", text).lower()
    return GAP.join("".join(letter if letter.isalpha() or letter == "'" else " " for letter in small).split())
