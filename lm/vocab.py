"""`Vocab`: codes of a codec as ids and strings of a language model, and back."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..codecs.errors import ShapeError
from ..codecs.tokens import Tokens
from .bank import Bank, Place, Section, interleaved
from .runs import from_runs, to_runs

if TYPE_CHECKING:
    from ..codecs.base import Codec

START, END, PAD = "<|audio_start|>", "<|audio_end|>", "<|audio_pad|>"
RUN = "<|audio_for_{frames}|>"


@dataclass(frozen=True)
class Vocab:
    """Tokens that stand for codes.

    A sequence is its sections one after the other; a section is groups of the same places, each of which takes codes of one
    bank. Most codecs have one section whose group is one frame, a token per codebook.

    Attributes:
        banks: tokens of each codebook (of each place of a group in formats that have it so).
        sections: what follows what.
        steps: frames of each stream in one group of its section.
        specials: string -> id of the tokens that are no codes.
        base: lowest id.
        multiple: `padded_size` is a multiple of it.
        pad: which of the specials fills batches.
        merged: equal codes that follow one another are written once (SpeechGPT), so durations are lost.
        longest: frames of a run of equal codes, which is written as the code and the run's length (0 for frame by frame).
    """

    banks: tuple[Bank, ...]
    sections: tuple[Section, ...]
    steps: tuple[int, ...] = (1,)
    specials: Mapping[str, int] = field(default_factory=dict)
    base: int = 0
    multiple: int = 1
    pad: str = ""
    merged: bool = False
    longest: int = 0

    # -- how it is made -----------------------------------------------------------------------------------------

    @classmethod
    def from_codec(
        cls,
        codec: "Codec",
        codebooks: int | None = None,
        base: int = 0,
        multiple: int = 64,
        template: str = "",
        extra: Sequence[str] = (),
        longest: int = 0,
    ) -> "Vocab":
        """Return a vocabulary for a codec: codes first, codebook after codebook, then the special tokens.

        Streams at several rates become groups of one frame of the slowest; where their frames do not always fill groups
        (segments of any length), each stream is a section of its own between special tokens.

        Args:
            codec: whose codes are meant.
            codebooks: how many of them, all by default.
            base: id of the first token, which is the size of the vocabulary that it is added to.
            multiple: of `padded_size`, for fast products on GPUs.
            template: string of a token with `{code}` in it, and `{codebook}` where there are several codebooks.
            extra: more special tokens.
            longest: with one codebook, write runs of equal codes of up to so many frames as the code and the run's length.

        Raises:
            ShapeError: if the codec has fewer codebooks, the template lacks a field, or runs are of several codebooks.
        """
        depths = _depths(codec, codec.spec.check_codebooks(codebooks))
        sizes = [size for stream, n in zip(codec.spec.streams, depths, strict=True) for size in stream.codebook_sizes[:n]]
        banks = _banks(sizes, template or ("<|audio_{code}|>" if len(sizes) == 1 else "<|audio_{codebook}_{code}|>"), base)
        if longest and len(sizes) > 1:
            raise ShapeError(f"runs are written of one codebook; got {len(sizes)}: pass codebooks=1, or leave longest out")
        steps = (1,) if longest else _group(codec)
        if longest:
            banks += (Bank(longest, RUN.partition("{")[0], RUN.partition("}")[2], 1, base + sizes[0]),)
            sections = (Section((Place(0, 0, 0, 0), Place(0, 1, 0, 1)), START, END),)
        elif steps:
            sections = (Section(interleaved(steps, depths), START, END),)
        else:
            steps, places = (1,) * len(depths), interleaved((1,) * len(depths), depths)
            own = [tuple(place for place in places if place.stream == i) for i in range(len(depths))]
            sections = tuple(Section(p, f"<|audio_start_{i}|>", f"<|audio_end_{i}|>") for i, p in enumerate(own) if p)
        names = dict.fromkeys([name for s in sections for name in (s.start, s.end)] + [PAD, *extra])
        after = base + sum(bank.size for bank in banks)
        specials = {name: after + i for i, name in enumerate(names)}
        return cls(banks, sections, steps, specials, base, multiple, PAD, longest=longest)

    @classmethod
    def preset(cls, name: str) -> "Vocab":
        """Return a vocabulary that a published family of models uses; `lm.presets.PRESETS` has their names.

        Raises:
            ShapeError: if the name is unknown.
        """
        from .presets import PRESETS

        if name not in PRESETS:
            raise ShapeError(f"no vocabulary is called {name!r}: the known ones are {', '.join(sorted(PRESETS))}")
        return PRESETS[name]()

    def apply_to(self, tokenizer: Any, model: Any = None) -> "Vocab":
        """Add the tokens to a Hugging Face tokenizer, resize a model's embeddings, and return the vocabulary with their ids.

        Tokens that the tokenizer has already keep their ids. Embeddings are never made fewer.

        Raises:
            ShapeError: if the tokenizer gives a codebook's tokens ids that do not follow one another.
        """
        from .tokenizers import apply

        return apply(self, tokenizer, model)

    # -- what is in it ------------------------------------------------------------------------------------------

    @property
    def offsets(self) -> tuple[int, ...]:
        """Id of code 0 of each bank."""
        return tuple(bank.offset for bank in self.banks)

    @property
    def size(self) -> int:
        """Tokens, special ones included."""
        return sum(bank.size for bank in self.banks) + len(self.specials)

    @property
    def end(self) -> int:
        """The id after the highest."""
        highest = [bank.offset + bank.size - 1 for bank in self.banks] + list(self.specials.values())
        return max(highest) + 1

    @property
    def padded_size(self) -> int:
        """Rows that an embedding needs: `end` rounded up to `multiple`."""
        return -(-self.end // self.multiple) * self.multiple

    @property
    def pad_id(self) -> int:
        """Id that fills batches, -1 where there is none."""
        return self.specials.get(self.pad, -1)

    def all_strings(self) -> list[str]:
        """Return the string of every token, in the order of the ids."""
        pairs = [(bank.offset + code, bank.string(code)) for bank in self.banks for code in range(bank.size)]
        return [string for _, string in sorted(pairs + [(i, name) for name, i in self.specials.items()])]

    def bank_of(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bank of each id and its code there, both -1 for ids that are no codes; any shape."""
        order = sorted(range(len(self.banks)), key=lambda i: self.banks[i].offset)
        offsets = torch.tensor([self.banks[i].offset for i in order], device=ids.device)
        sizes = torch.tensor([self.banks[i].size for i in order], device=ids.device)
        found = torch.searchsorted(offsets, ids.contiguous(), right=True) - 1
        codes = ids - offsets[found.clamp(min=0)]
        inside = (found >= 0) & (codes < sizes[found.clamp(min=0)])
        banks = torch.tensor(order, device=ids.device)[found.clamp(min=0)]
        return torch.where(inside, banks, -1), torch.where(inside, codes, -1)

    # -- codes and ids ------------------------------------------------------------------------------------------

    def ids(self, codes: Tensor | Sequence[Tensor] | Tokens, markers: bool = True) -> Tensor:
        """Return codes as ids [batch, n].

        Args:
            codes: [batch, codebooks, frames], a sequence of them where there are several streams, or tokens whose items are
                equally long (take `tokens[i]` of others).
            markers: write the special tokens around sections.

        Raises:
            ShapeError: if codes do not fit the vocabulary or do not fill whole groups.
        """
        streams = self._check(codes)
        streams = (to_runs(streams[0], self.longest),) if self.longest else streams
        parts = []
        for section in self.sections:
            body = self._section_ids(section, streams)
            parts += [self._marker(section.start, body), body, self._marker(section.end, body)] if markers else [body]
        return torch.cat(parts, dim=1)

    def codes(self, ids: Tensor) -> tuple[Tensor, ...]:
        """Return the streams of codes [batch, codebooks, frames] that ids [batch, n] or [n] stand for.

        The special tokens around sections may be missing where there is one section, and after the last one. Where a start
        token is there, ids around the audio that are no codes (text, the end of a sequence) are left out; and where there is
        one section, its codes may come in several stretches with text between them (OuteTTS' words).

        Raises:
            ShapeError: if an id is no code of the place where it stands, a group is not whole, or codes stand around the audio.
        """
        ids = ids[None] if ids.ndim == 1 else ids
        bodies = [self._section_codes(s, body) for s, body in zip(self.sections, self._split(ids), strict=True)]
        streams = []
        for i, steps in enumerate(self.steps):
            own = next((found for found in bodies if i in found), None)
            groups = next(iter(bodies[0].values())).shape[-1] // self.steps[min(bodies[0])]
            streams.append(ids.new_zeros(len(ids), 0, groups * steps) if own is None else own[i])
        return (from_runs(streams[0]),) if self.longest else tuple(streams)

    def tokens(self, codec: "Codec", ids: Tensor, **options: Any) -> Tokens:
        """Return ids [batch, n] as tokens of a codec; options are those of `codec.tokens_from_codes`."""
        return codec.tokens_from_codes(self.codes(ids), **options)

    def _check(self, codes: Tensor | Sequence[Tensor] | Tokens) -> tuple[Tensor, ...]:
        streams = (codes,) if isinstance(codes, Tensor) else codes.streams if isinstance(codes, Tokens) else tuple(codes)
        if len(streams) != len(self.steps):
            raise ShapeError(f"this vocabulary has {len(self.steps)} streams of codes; got {len(streams)}")
        wanted = [self._codebooks(i) for i in range(len(streams))]
        if [stream.shape[1] if stream.ndim == 3 else -1 for stream in streams] != wanted:
            raise ShapeError(
                f"this vocabulary is of {wanted} codebooks of its streams, as [batch, codebooks, frames] each; got "
                f"{[list(stream.shape) for stream in streams]}: make it of as many with codebooks=, or take fewer of the codes"
            )
        lengths = codes.lengths if isinstance(codes, Tokens) else None
        if lengths is not None and any(bool((n != s.shape[-1]).any()) for n, s in zip(lengths.T, streams, strict=True)):
            raise ShapeError("the items of these tokens are not equally long: turn tokens[i] into ids one by one")
        return streams

    def _codebooks(self, stream: int) -> int:
        used = [place.codebook for section in self.sections for place in section.places if place.stream == stream]
        return 1 if self.longest else max(used, default=-1) + 1

    def _section_ids(self, section: Section, streams: tuple[Tensor, ...]) -> Tensor:
        rows, groups = [], {self._groups(p, streams[p.stream]) for p in section.places}
        if len(groups) > 1:
            raise ShapeError(f"streams of one section must cover the same time; got {[s.shape[-1] for s in streams]} frames")
        for place in section.places:
            bank, codes = (
                self.banks[place.bank],
                streams[place.stream][:, place.codebook, place.step :: self.steps[place.stream]],
            )
            if codes.numel() and (int(codes.min()) < 0 or int(codes.max()) >= bank.size):
                raise ShapeError(f"codes must be from 0 to {bank.size - 1}; got {int(codes.min())} to {int(codes.max())}")
            rows.append(codes + bank.offset)
        ids = torch.stack(rows, dim=-1).flatten(1)
        return self._merge(ids) if self.merged else ids

    def _groups(self, place: Place, codes: Tensor) -> int:
        steps = self.steps[place.stream]
        if codes.shape[-1] % steps:
            raise ShapeError(
                f"frames of stream {place.stream} must be a multiple of {steps}; got {codes.shape[-1]}: cut the rest off"
            )
        return codes.shape[-1] // steps

    def _merge(self, ids: Tensor) -> Tensor:
        rows = [row.unique_consecutive() for row in ids]
        if len({len(row) for row in rows}) > 1:
            raise ShapeError("items differ in length once equal codes are written once: turn them into ids one by one")
        return torch.stack(rows) if rows else ids

    def _marker(self, name: str, like: Tensor) -> Tensor:
        return like.new_full((len(like), 1 if name else 0), self.specials.get(name, 0))

    def _split(self, ids: Tensor) -> list[Tensor]:
        """Return the ids [batch, n] of each section, without the special tokens around them."""
        rows = [self._bodies(row) for row in ids]
        if any(len({len(body) for body in bodies}) > 1 for bodies in zip(*rows, strict=True)):
            raise ShapeError("items differ in their number of ids: turn ids into codes one by one")
        if not rows:
            return [ids[:, :0]] * len(self.sections)
        return [torch.stack(bodies) for bodies in zip(*rows, strict=True)]

    def _bodies(self, ids: Tensor) -> list[Tensor]:
        """Return the ids [n] of each section of one item."""
        parts: list[list[Tensor]] = [[] for _ in self.sections]
        around = ids != self.pad_id
        for number, start, stop in self._stretches(ids):
            if parts[number] and len(self.sections) > 1:
                break
            parts[number].append(ids[start:stop])
            around[start:stop] = False
        if bool((strange := ids[around & (self.bank_of(ids)[0] >= 0)]).numel()):
            raise ShapeError(
                f"{strange.numel()} codes stand before the start or after the end of the audio, the first {int(strange[0])}: "
                "cut them off"
            )
        return [torch.cat(own) if own else ids[:0] for own in parts]

    def _stretches(self, ids: Tensor) -> list[tuple[int, int, int]]:
        """Return section, first position and the one after the last of each stretch between special tokens."""
        starts = {self.specials[section.start]: i for i, section in enumerate(self.sections) if section.start}
        stops = [self.specials[section.end] for section in self.sections if section.end] + [self.pad_id]
        marks = torch.isin(ids, torch.tensor([*starts, *stops], device=ids.device)).nonzero().flatten().tolist()
        begun = any(int(ids[at]) in starts for at in marks)
        first = int((ids == self.pad_id).to(torch.int8).cumprod(0).sum())
        found, ends = [] if begun else [(0, first)], [*marks, len(ids)]
        found += [(starts[int(ids[at])], at + 1) for at in marks if int(ids[at]) in starts]
        return [(number, start, next(end for end in ends if end >= start)) for number, start in found]

    def _section_codes(self, section: Section, ids: Tensor) -> dict[int, Tensor]:
        batch, n, width = *ids.shape, len(section.places)
        if n % width:
            raise ShapeError(f"a section must be whole groups of {width} ids; got {n}: {n % width} are too many")
        grouped = ids.reshape(batch, n // width, width)
        offsets = torch.tensor([self.banks[p.bank].offset for p in section.places], device=ids.device)
        sizes = torch.tensor([self.banks[p.bank].size for p in section.places], device=ids.device)
        codes = grouped - offsets
        if bool((wrong := (codes < 0) | (codes >= sizes)).any()):
            item, group, at = wrong.nonzero()[0].tolist()
            low = int(offsets[at])
            raise ShapeError(
                f"id {int(grouped[item, group, at])} at position {group * width + at} of item {item} is not one of "
                f"{low} to {low + int(sizes[at]) - 1}, the codes of that place: the sequence is out of step or no audio"
            )
        return {i: self._stream(section, codes, i) for i in {p.stream for p in section.places}}

    def _stream(self, section: Section, codes: Tensor, stream: int) -> Tensor:
        own = [(p, i) for i, p in enumerate(section.places) if p.stream == stream]
        out = codes.new_zeros(len(codes), 1 + max(p.codebook for p, _ in own), codes.shape[1], self.steps[stream])
        for place, i in own:
            out[:, place.codebook, :, place.step] = codes[..., i]
        return out.flatten(2)

    # -- strings ------------------------------------------------------------------------------------------------

    def strings(self, ids: Tensor) -> list[str]:
        """Return the string of each of the ids [n].

        Raises:
            ShapeError: if an id is not in the vocabulary.
        """
        banks, codes = self.bank_of(ids)
        names = {i: name for name, i in self.specials.items()}
        out = []
        for i, bank, code in zip(ids.tolist(), banks.tolist(), codes.tolist(), strict=True):
            if bank < 0 and i not in names:
                raise ShapeError(f"id {i} is not in this vocabulary: its ids are from {self.base} to {self.end - 1}")
            out.append(names[i] if bank < 0 else self.banks[bank].string(code))
        return out

    def text(self, codes: Tensor | Sequence[Tensor] | Tokens, markers: bool = True) -> str:
        """Return the codes of one item as the text that models write."""
        ids = self.ids(codes, markers)
        if len(ids) != 1:
            raise ShapeError(f"a text holds one item; got {len(ids)}: take codes[i : i + 1]")
        return "".join(self.strings(ids[0]))

    def parse(self, text: str) -> Tensor:
        """Return the ids [n] of every token of the vocabulary that stands in a text; what is around them is left out."""
        return torch.tensor([i for i, _ in self.matches(text)], dtype=torch.int64)

    def matches(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield the id of every token that stands in a text, and where it ends."""
        for match in self._pattern.finditer(text):
            if (i := self._id(match)) >= 0:
                yield i, match.end()

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        shapes = dict.fromkeys((bank.prefix, bank.suffix) for bank in self.banks)
        numbered = [f"{re.escape(a)}([0-9]{{1,9}}){re.escape(b)}" for a, b in shapes]
        names = [re.escape(name) for name in sorted(self.specials, key=len, reverse=True)]
        return re.compile("|".join([*names, *numbered]))

    def _id(self, match: re.Match[str]) -> int:
        string = match.group()
        if string in self.specials:
            return self.specials[string]
        number = int(next(group for group in match.groups() if group is not None))
        for bank in self.banks:
            if 0 <= number - bank.first < bank.size and string == bank.string(number - bank.first):
                return bank.offset + number - bank.first
        return -1

    def moved(self, offsets: Sequence[int], specials: Mapping[str, int]) -> "Vocab":
        """Return the vocabulary with other ids: of code 0 of each bank, and of each special token."""
        banks = tuple(replace(bank, offset=offset) for bank, offset in zip(self.banks, offsets, strict=True))
        return replace(self, banks=banks, specials=dict(specials), base=min([*offsets, *specials.values()]))


def _depths(codec: "Codec", codebooks: int) -> list[int]:
    depths = []
    for stream in codec.spec.streams:
        depths.append(min(codebooks, len(stream.codebook_sizes)))
        codebooks -= depths[-1]
    return depths


def _banks(sizes: list[int], template: str, base: int) -> tuple[Bank, ...]:
    if "{code}" not in template or (len(sizes) > 1 and "{codebook}" not in template):
        raise ShapeError(f"a template of {len(sizes)} codebooks needs {{code}}, and {{codebook}} for several; got {template!r}")
    halves = [template.replace("{codebook}", str(q)).partition("{code}") for q in range(len(sizes))]
    return tuple(Bank(size, halves[q][0], halves[q][2], 0, base + sum(sizes[:q])) for q, size in enumerate(sizes))


def _group(codec: "Codec") -> tuple[int, ...]:
    """Return the frames of each stream in a group, () where frames of audio of any length do not fill whole groups."""
    hops = [stream.hop for stream in codec.spec.streams]
    if any(slow % fast for slow, fast in pairwise(hops)):
        return ()
    steps = tuple(hops[0] // hop for hop in hops)
    counts = [codec.n_frames(n) for n in range(1, 3 * hops[0], max(1, hops[-1] // 3))]
    whole = all(n == frames[0] * step for frames in counts for n, step in zip(frames, steps, strict=True))
    return steps if whole else ()
