"""Audio while a language model is still writing it: ids in, samples out, as soon as the codec can sound them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..codecs.errors import ShapeError
from .vocab import Vocab

if TYPE_CHECKING:
    from ..codecs.base import Codec
    from ..codecs.streaming import StreamDecoder
    from .pattern import Pattern

LONGEST_TOKEN = 64  # characters of a text that are kept in case a token's string is still coming


class IncrementalDecoder:
    """Takes the ids (or the text) that a model writes in one row, and gives the audio that they make certain.

        decoder = IncrementalDecoder(codec, vocab)
        for id in model.stream():
            speaker.write(decoder.push([id]))           # [1, channels, n samples], n may be 0
        speaker.write(decoder.flush())

    No code out of its codebook's range ever reaches the codec. Where an id is not one of the codes of the place where it
    stands, `errors` says what happens: "raise", or "resync": the group that is not whole is left out, and audio goes on with
    the next id that can begin one. Text around the audio is passed over: ids below the vocabulary's before the first code, and
    all that are no codes after an end token. Vocabularies of several sections (Spark's global codes) are sounded whole by
    `flush`.

    Attributes:
        dropped: ids left out so far, special tokens and text around the audio not counted.
        passed: ids of such text.
        ended: whether the end token came; what follows it is no audio, until another start token.
    """

    def __init__(self, codec: "Codec", vocab: Vocab, errors: str = "raise", chunk_seconds: float = 0.5) -> None:
        """Take the codec that made the vocabulary's codes.

        Args:
            codec: that sounds the codes.
            vocab: of the ids.
            errors: "raise" or "resync".
            chunk_seconds: audio that a codec which is not causal sounds at once, beyond its receptive field. Shorter chunks
                come sooner and cost more.

        Raises:
            ShapeError: if the codec and the vocabulary do not fit, codes alone do not say how loud it is (EnCodec 48 kHz), or
                `chunk_seconds` is no number above 0.
        """
        if errors not in ("raise", "resync"):
            raise ShapeError(f'errors must be "raise" or "resync"; got {errors!r}')
        _check_fit(codec, vocab)
        self.codec, self.vocab, self.errors = codec, vocab, errors
        self._whole = len(vocab.sections) > 1
        self._sound = None if self._whole else sounding(codec, 1, chunk_seconds)
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next id begins another piece of audio."""
        self.dropped, self.passed, self.ended = 0, 0, False
        self._seen, self._begun, self._section, self._text = 0, False, 0, ""
        self._group: list[int] = []
        self._groups: list[list[list[int]]] = [[] for _ in self.vocab.sections]
        if self._sound is not None:
            self._sound.reset()

    def push(self, ids: "Tensor | Sequence[int] | str") -> Tensor:
        """Take the next ids, or text with the tokens' strings, and return the audio [1, channels, n] that is now certain.

        Raises:
            ShapeError: if an id does not belong where it stands and `errors` is "raise".
        """
        if isinstance(ids, str):
            ids = self._read(ids)
        ids = ids.flatten() if isinstance(ids, Tensor) else torch.tensor(list(ids), dtype=torch.int64)
        banks, codes = self.vocab.bank_of(ids.cpu().long())
        for i, bank, code in zip(ids.tolist(), banks.tolist(), codes.tolist(), strict=True):
            self._take(i, bank, code)
            self._seen += 1
        if self._sound is None or not self._groups[0]:
            return self._silence()
        streams, self._groups[0] = self._streams(), []
        return self._sound.push(streams)

    def flush(self, n_samples: int | None = None) -> Tensor:
        """End the audio and return what was waiting; `n_samples` is the length of the whole, where it is known.

        Raises:
            ShapeError: if a group is not whole and `errors` is "raise".
        """
        self._close()
        if self._sound is not None:
            return self._sound.flush(n_samples)
        if not all(self._groups):
            return self._silence()
        return self.codec.decode(self.codec.tokens_from_codes(self._streams(), n_samples))

    def _read(self, text: str) -> Tensor:
        self._text += text
        matches = list(self.vocab.matches(self._text))
        self._text = self._text[matches[-1][1] if matches else 0 :][-LONGEST_TOKEN:]
        return torch.tensor([i for i, _ in matches], dtype=torch.int64)

    def _take(self, token: int, bank: int, code: int) -> None:
        sections = self.vocab.sections
        for number, section in enumerate(sections):
            if section.start and token == self.vocab.specials[section.start]:
                self._close()
                self._section, self._begun, self.ended = number, True, False
                return
        if token == self.vocab.pad_id:
            return
        if bank < 0 and (self.ended or not self._begun) and self._is_around(token):
            self.passed += token not in self.vocab.specials.values()
            return
        if self.ended and self.errors == "resync":
            self.dropped += 1
            return
        section = sections[self._section]
        if section.end and token == self.vocab.specials[section.end]:
            self._close()
            self.ended = True
            return
        place, self._begun = section.places[len(self._group)], True
        if bank == place.bank and not self.ended:
            self._group.append(code)
        else:
            self._refuse(token, place.bank)
            if bank == section.places[0].bank:
                self._group = [code]
                self.dropped -= 1
        if len(self._group) == len(section.places):
            self._groups[self._section].append(self._group)
            self._group = []

    def _is_around(self, token: int) -> bool:
        """Whether an id that is no code is a special token or text, where no audio has begun or it has ended."""
        ends = [self.vocab.specials[section.end] for section in self.vocab.sections if section.end]
        return self.ended or 0 <= token < self.vocab.base or token in set(self.vocab.specials.values()).difference(ends)

    def _refuse(self, token: int, expected: int) -> None:
        """Raise, or drop the token and the group that it breaks."""
        if self.errors == "raise":
            bank = self.vocab.banks[expected]
            what = "the end token" if self.ended else f"{len(self._group)} ids of a group, one of {bank.offset} to "
            what += "" if self.ended else str(bank.offset + bank.size - 1)
            raise ShapeError(
                f"id {token} at position {self._seen} cannot follow {what}: limit the model's choice with VocabLogits, or pass "
                'errors="resync"'
            )
        self.dropped += 1 + len(self._group)
        self._group = []

    def _close(self) -> None:
        if not self._group:
            return
        if self.errors == "raise":
            whole = len(self.vocab.sections[self._section].places)
            raise ShapeError(
                f"the audio ends within a group, after {len(self._group)} of {whole} ids: let the model finish it, or pass "
                'errors="resync"'
            )
        self.dropped += len(self._group)
        self._group = []

    def _streams(self) -> tuple[Tensor, ...]:
        """Return the groups that are whole as streams of codes."""
        parts = []
        for section, groups in zip(self.vocab.sections, self._groups, strict=True):
            offsets = torch.tensor([self.vocab.banks[place.bank].offset for place in section.places])
            ids = (torch.tensor(groups, dtype=torch.int64).reshape(-1, len(section.places)) + offsets).flatten()
            parts += [self._marker(section.start), ids, self._marker(section.end)]
        return tuple(stream.to(self.codec.device) for stream in self.vocab.codes(torch.cat(parts)))

    def _marker(self, name: str) -> Tensor:
        return torch.tensor([self.vocab.specials[name]] if name else [], dtype=torch.int64)

    def _silence(self) -> Tensor:
        return torch.zeros(1, self.codec.spec.channels, 0, device=self.codec.device, dtype=self.codec.dtype)


class PatternDecoder:
    """Takes the columns that a model writes in a pattern of several rows, and gives the audio that they make certain.

        decoder = PatternDecoder(codec, pattern)
        while not done:
            speaker.write(decoder.push(sample(model(decoder.steps.sequence))))        # [batch, rows]
        speaker.write(decoder.flush())

    Attributes:
        steps: the pattern's `Stepper`: what is written so far, what is fixed next, and `frames`, to be set once it is known.
    """

    def __init__(
        self, codec: "Codec", pattern: "Pattern", batch: int = 1, stream: str | None = None, chunk_seconds: float = 0.5
    ) -> None:
        """Take the codec that made the pattern's codes; `stream` names the one to sound of several (Moshi's agent)."""
        names = dict(pattern.names)
        if stream is not None and stream not in names:
            raise ShapeError(f"the pattern has no stream {stream!r}: it has {', '.join(names) or 'no names'}")
        self._books = list(range(pattern.codebooks)) if stream is None else list(names[stream])
        if len(codec.spec.streams) > 1 or len(self._books) > codec.spec.codebooks:
            raise ShapeError(
                f"{codec.name} has {len(codec.spec.streams)} streams and {codec.spec.codebooks} codebooks, and the pattern's "
                f"{len(self._books)} do not fit: name a stream, or use a Vocab for codes of several rates"
            )
        self.codec, self.steps = codec, pattern.generator(batch)
        self._sound = sounding(codec, batch, chunk_seconds)

    def push(self, columns: Tensor) -> Tensor:
        """Take the next column [batch, rows], or several [batch, rows, n], and return the audio that is now certain.

        Raises:
            ShapeError: if a code is out of its codebook's range.
        """
        columns = columns[..., None] if columns.ndim == 2 else columns
        frames = [self.steps.push(columns[..., i]) for i in range(columns.shape[-1])]
        codes = torch.cat([self.steps.none(), *frames], dim=-1)[:, self._books]
        return self._sound.push(codes.to(self.codec.device))

    def flush(self, n_samples: int | None = None) -> Tensor:
        """End the audio and return what was waiting; frames without all of their codes are left out."""
        return self._sound.flush(n_samples)


def sounding(codec: "Codec", batch: int, chunk_seconds: float) -> "StreamDecoder":
    """Return a codec's stream decoder, with chunks of `chunk_seconds` where it works in chunks.

    Raises:
        ShapeError: if codes alone do not say how it sounds, or `chunk_seconds` is no number above 0.
    """
    if codec.spec.side:
        raise ShapeError(f"{codec.name} needs {', '.join(codec.spec.side)} beside the codes, which no model of codes writes")
    return codec.stream_decoder(batch, chunk_seconds if codec.chunked else None)


def _check_fit(codec: "Codec", vocab: Vocab) -> None:
    streams = codec.spec.streams
    places = [place for section in vocab.sections for place in section.places]
    for place in places[:1] if vocab.longest else places:  # the second place of a run is its length
        own = streams[place.stream].codebook_sizes if place.stream < len(streams) else ()
        if place.codebook >= len(own) or vocab.banks[place.bank].size > own[place.codebook] or len(vocab.steps) != len(streams):
            raise ShapeError(
                f"this vocabulary's codes are not those of {codec.name}, which has {len(streams)} streams of codebooks "
                f"{[list(stream.codebook_sizes[:8]) for stream in streams]}: make it with Vocab.from_codec"
            )
