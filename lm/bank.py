"""Which tokens a language model's vocabulary has for codes, and in which order they follow one another."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Bank:
    """The tokens of one codebook, `size` of them with ids that follow one another.

    Attributes:
        size: codes.
        prefix, suffix: of every token's string, around a number.
        first: the number in the string of code 0.
        offset: id of code 0.
    """

    size: int
    prefix: str
    suffix: str
    first: int = 0
    offset: int = 0

    def string(self, code: int) -> str:
        """Return the string of a code."""
        return f"{self.prefix}{self.first + code}{self.suffix}"


@dataclass(frozen=True)
class Place:
    """One token of a group: the code of `codebook` of `stream`, in the group's frame `step`, out of the bank `bank`."""

    stream: int
    codebook: int
    step: int
    bank: int


@dataclass(frozen=True)
class Section:
    """A stretch of a sequence: groups of the same places one after the other, between two special tokens or none."""

    places: tuple[Place, ...]
    start: str = ""
    end: str = ""


def interleaved(steps: Sequence[int], depths: Sequence[int]) -> tuple[Place, ...]:
    """Return the places of one group of streams at several rates, coarse first and each code before the finer ones under it.

    With three streams of rates 1 : 2 : 4 the order is 0, 1, 2, 2, 1, 2, 2, which is how SNAC's codes are written for language
    models. Banks are numbered by codebook, streams joined.

    Args:
        steps: frames of each stream in a group, each a multiple of the one before.
        depths: codebooks in use of each stream.
    """
    first = [sum(depths[:i]) for i in range(len(depths))]

    def below(stream: int, step: int) -> list[Place]:
        if stream == len(steps):
            return []
        own = [Place(stream, q, step, first[stream] + q) for q in range(depths[stream])]
        finer = steps[stream + 1] // steps[stream] if stream + 1 < len(steps) else 1
        return own + [place for i in range(finer) for place in below(stream + 1, step * finer + i)]

    return tuple(place for step in range(steps[0]) for place in below(0, step))
