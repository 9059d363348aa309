"""Exact chunks: long audio through a codec that is not causal, in constant memory, with the codes of the whole file.

A chunk of frames is coded from its own samples and `context` samples on either side, as far as the audio goes; what the ends
of such a piece got wrong is cut off. With `context` at least the codec's receptive field nothing else differs from the
whole file but rounding. Pieces begin at multiples of the slowest hop, so that padding at the end of the audio falls as it
would for the whole.
"""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .chunk_seconds import chunk_units
from .errors import ShapeError
from .streaming import StreamDecoder, StreamEncoder

if TYPE_CHECKING:
    from .base import Codec, Encoded

CHUNK_SECONDS = 10.0


class Plan:
    """Where chunks begin and end, in units: the least stretch of samples that is whole frames of every stream.

    A codec that pads audio to more than that (whole windows of attention) says so in `padded_to`.
    """

    def __init__(self, codec: "Codec", context: int | None, seconds: float) -> None:
        spec = codec.spec
        context = spec.receptive_field if context is None else context
        if context is None:
            raise ShapeError(f"{codec.name} sees everything at once: exact chunks need a context in samples")
        if spec.side:
            raise ShapeError(f"{codec.name} has numbers per segment: its own streams keep them, chunks would not")
        self.unit = math.lcm(getattr(codec, "padded_to", 1), *(stream.hop for stream in spec.streams))
        self.ratios = tuple(self.unit // stream.hop for stream in spec.streams)
        self.context = -(-context // self.unit)
        self.chunk = chunk_units(seconds, spec.sample_rate, self.unit)

    def __str__(self) -> str:
        return f"chunk={self.chunk * self.unit} context={self.context * self.unit}"

    @property
    def latency(self) -> int:
        """Samples of the first chunk and of the context after it."""
        return (self.chunk + self.context) * self.unit

    def start(self, done: int) -> int:
        """Return the first unit that a chunk after `done` units needs; reflection at the end may see twice the context."""
        return max(0, done - 2 * self.context)

    def ready(self, done: int, units: int) -> int:
        """Return how many whole chunks can follow `done` units when `units` are there."""
        return max(0, (units - self.context - done) // self.chunk)


def awaited(hop: int, sample_rate: int, context: int, seconds: float = CHUNK_SECONDS) -> int:
    """Return the samples after its own `hop` that the first frame of a chunk is coded or sounded with.

    They are those of the other frames of the chunk, and of the `context` after it, as a `Plan` makes them.
    """
    return (chunk_units(seconds, sample_rate, hop) + -(-context // hop) - 1) * hop


class ChunkedEncoder(StreamEncoder):
    """Codes chunks of `seconds` as soon as the context after them is there."""

    def __init__(
        self,
        codec: "Codec",
        batch: int = 1,
        codebooks: int | None = None,
        context: int | None = None,
        seconds: float = CHUNK_SECONDS,
    ) -> None:
        """Take a codec whose `_encode` codes whole audio; `context` in samples is its receptive field by default.

        Raises:
            ShapeError: if the codec sees everything, or has numbers per segment.
        """
        self.plan = Plan(codec, context, seconds)
        super().__init__(codec, batch, codebooks)

    @property
    def latency(self) -> int:
        return self.plan.latency

    @property
    def window(self) -> str:
        """As the tokens record it: "chunk=N context=M" in samples, where the codec would see everything."""
        return str(self.plan) if self.codec.window else ""

    def _reset(self) -> None:
        self.held = torch.zeros(self.batch, self.codec.spec.channels, 0, device=self.codec.device, dtype=self.codec.dtype)
        self.first = 0  # unit at which the samples held begin
        self.done = 0  # units whose frames were given out

    def _push(self, waveform: Tensor) -> "Encoded":
        plan, pieces = self.plan, [self.codec._empty(self.batch, self.codebooks)[0]]
        self.held = torch.cat([self.held, waveform], dim=-1)
        for _ in range(plan.ready(self.done, self.first + self.held.shape[-1] // plan.unit)):
            end = self.done + plan.chunk
            pieces.append(self._code(end + plan.context - self.first, end))
        return self._joined(pieces), {}

    def _flush(self) -> "Encoded":
        pieces = [self.codec._empty(self.batch, self.codebooks)[0]]
        if self.held.shape[-1] > (self.done - self.first) * self.plan.unit:
            pieces.append(self._code(None, None))
        return self._joined(pieces), {}

    def _code(self, units: int | None, end: int | None) -> tuple[Tensor, ...]:
        """Code the first `units` held (all for None), keep the frames up to unit `end`, and let go of what no chunk needs."""
        plan = self.plan
        samples = self.held if units is None else self.held[..., : units * plan.unit]
        streams = self._piece(samples, end is None)
        skip, stop = self.done - self.first, None if end is None else end - self.first
        kept = tuple(
            codes[..., skip * ratio : None if stop is None else stop * ratio]
            for codes, ratio in zip(streams, plan.ratios, strict=True)
        )
        if end is not None:
            first = plan.start(end)
            self.held, self.first, self.done = self.held[..., (first - self.first) * plan.unit :].clone(), first, end
        return kept

    def _piece(self, samples: Tensor, last: bool) -> tuple[Tensor, ...]:
        """Return the codes of the samples of a chunk and its context; nothing comes after the last."""
        return self.codec._encode(samples, self.codebooks)[0]

    def _joined(self, pieces: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        return tuple(torch.cat(parts, dim=-1) for parts in zip(*pieces, strict=True))


class WindowEncoder(ChunkedEncoder):
    """Codes long audio in chunks with a codec that sees everything; whole audio in memory goes the same way.

    The codec's `encode_piece(samples, codebooks, alone)` returns the codes of a chunk and its context; `alone` says that there
    is nothing else.
    """

    def encode(self, waveform: Tensor) -> "Encoded":
        """Return the codes of a whole waveform [batch, channels, samples], those of its pieces joined."""
        (start, _), (end, _) = self._push(waveform), self._flush()
        return self._joined([start, end]), {}

    def _piece(self, samples: Tensor, last: bool) -> tuple[Tensor, ...]:
        return self.codec.encode_piece(samples, self.codebooks, last and not self.done)


class ChunkedDecoder(StreamDecoder):
    """Sounds chunks of `seconds` as soon as the context after them is there."""

    def __init__(self, codec: "Codec", batch: int = 1, context: int | None = None, seconds: float = CHUNK_SECONDS) -> None:
        """Take a codec whose `_decode` sounds whole codes; `context` in samples is its receptive field by default.

        Raises:
            ShapeError: if the codec sees everything, or has numbers per segment.
        """
        self.plan = Plan(codec, context, seconds)
        super().__init__(codec, batch)

    @property
    def latency(self) -> int:
        return self.plan.latency

    def _reset(self) -> None:
        self.held: tuple[Tensor, ...] | None = None
        self.first = self.done = 0  # units, as in the encoder

    def _push(self, streams: tuple[Tensor, ...], side: dict[str, Tensor]) -> Tensor:
        plan, pieces = self.plan, [self._silence()]
        held = streams if self.held is None else tuple(
            torch.cat(pair, dim=-1) for pair in zip(self.held, streams, strict=True)
        )  # fmt: skip
        self.held = held
        units = min(codes.shape[-1] // ratio for codes, ratio in zip(held, plan.ratios, strict=True))
        for _ in range(plan.ready(self.done, self.first + units)):
            end = self.done + plan.chunk
            pieces.append(self._sound(end + plan.context - self.first, end))
        return torch.cat(pieces, dim=-1)

    def _flush(self) -> Tensor:
        rest = 0 if self.held is None else self.held[0].shape[-1] - (self.done - self.first) * self.plan.ratios[0]
        return self._sound(None, None) if rest > 0 else self._silence()

    def _sound(self, units: int | None, end: int | None) -> Tensor:
        plan, held = self.plan, self.held or ()
        pairs = list(zip(held, plan.ratios, strict=True))
        streams = tuple(codes if units is None else codes[..., : units * ratio] for codes, ratio in pairs)
        n_samples = self.codec.max_samples(tuple(codes.shape[-1] for codes in streams))
        audio = self._piece(streams, n_samples)
        stop = None if end is None else (end - self.first) * plan.unit
        audio = audio[..., (self.done - self.first) * plan.unit : stop]
        if end is not None:
            first = plan.start(end)
            self.held = tuple(codes[..., (first - self.first) * ratio :] for codes, ratio in pairs)
            self.first, self.done = first, end
        return audio

    def _piece(self, streams: tuple[Tensor, ...], n_samples: int) -> Tensor:
        """Return the audio of the codes of a chunk and its context."""
        return self.codec._decode(streams, {}, n_samples)

    def _silence(self) -> Tensor:
        codec = self.codec
        return torch.zeros(self.batch, codec.spec.channels, 0, device=codec.device, dtype=codec.dtype)


class WindowDecoder(ChunkedDecoder):
    """Sounds long audio in chunks with a codec that sees everything; `decode_piece(streams)` of the codec sounds one."""

    def decode(self, streams: tuple[Tensor, ...]) -> Tensor:
        """Return the audio of whole codes, that of their pieces joined."""
        return torch.cat([self._push(streams, {}), self._flush()], dim=-1)

    def _piece(self, streams: tuple[Tensor, ...], n_samples: int) -> Tensor:
        return self.codec.decode_piece(streams)
