"""Streams over a graph without states: stretches of audio that overlap by what a frame sees, and are cut. Needs numpy alone.

What comes out equals that of `codecs.chunking`, whose plan this is.
"""

import numpy as np

from .runtime_streams import SILENT, Array, Decoder, Encoder, Stream


class ChunkEncoder(Encoder):
    """Runs a graph without states on chunks that overlap by what their frames see."""

    def _push(self) -> tuple[Array, ...]:
        pieces = [self._none()]
        for _ in range(_ready(self, self._held.shape[-1] // self.side.unit)):
            end = self._counts["units"] + self.chunk
            pieces.append(self._code(end + self.side.context - self._counts["first"], end))
        return tuple(np.concatenate(parts, axis=-1) for parts in zip(*pieces, strict=True))

    def _flush(self) -> tuple[Array, ...]:
        given = (self._counts["units"] - self._counts["first"]) * self.side.unit
        return self._code(None, None) if self._held.shape[-1] > given else self._none()

    def _code(self, units: int | None, end: int | None) -> tuple[Array, ...]:
        """Code the first `units` held (all for None), keep the frames up to unit `end`, and let go of what no chunk needs."""
        unit, first, skip = self.side.unit, self._counts["first"], self._counts["units"] - self._counts["first"]
        audio = self._held if units is None else self._held[..., : units * unit]
        if not (count := self.side.units(audio.shape[-1])):
            return self._none()
        inputs = {"length": np.array([audio.shape[-1]])} if self.side.length else {}
        alone = units is None and not self._counts["units"]
        fitted = audio if alone and not self.side.filled else _fitted(audio, count * unit)
        streams = self._shallow(self._run(audio=np.ascontiguousarray(fitted), **inputs))
        stop = None if end is None else end - first
        kept = tuple(
            codes[..., skip * ratio : None if stop is None else stop * ratio]
            for codes, ratio in zip(streams, self.ratios, strict=True)
        )
        if end is not None:
            self._counts["first"], self._counts["units"] = max(0, end - 2 * self.side.context), end
            self._held = self._held[..., (self._counts["first"] - first) * unit :].copy()
        return kept


class ChunkDecoder(Decoder):
    """Runs a graph without states on chunks that overlap by what their samples see."""

    def _push(self, streams: tuple[Array, ...]) -> Array:
        pieces = [self._silence()]
        held = self._held = self._join(streams)
        units = min(codes.shape[-1] // ratio for codes, ratio in zip(held, self.ratios, strict=True))
        for _ in range(_ready(self, units)):
            end = self._counts["units"] + self.chunk
            pieces.append(self._sound(end + self.side.context - self._counts["first"], end))
        return np.concatenate(pieces, axis=-1)

    def _flush(self) -> Array:
        if self._held is None:
            return self._silence()
        done = (self._counts["units"] - self._counts["first"]) * self.ratios[0]
        return self._sound(None, None) if self._held[0].shape[-1] > done else self._silence()

    def _sound(self, units: int | None, end: int | None) -> Array:
        unit, first, done = self.side.unit, self._counts["first"], self._counts["units"]
        pairs = list(zip(self._held or (), self.ratios, strict=True))
        streams = [codes if units is None else codes[..., : units * ratio] for codes, ratio in pairs]
        filled = {
            value.name: _filled(codes, value.shape[1]) for value, codes in zip(self._session.get_inputs(), streams, strict=True)
        }
        audio = self._run(**filled)[0]
        audio = audio[..., (done - first) * unit : None if end is None else (end - first) * unit]
        if end is not None:
            self._counts["first"], self._counts["units"] = max(0, end - 2 * self.side.context), end
            self._held = tuple(codes[..., (self._counts["first"] - first) * ratio :].copy() for codes, ratio in pairs)
        return audio


def _fitted(audio: Array, samples: int) -> Array:
    """Return so many samples of audio [batch, channels, samples], zeros where it has fewer."""
    return np.pad(audio[..., :samples], ((0, 0), (0, 0), (0, max(0, samples - audio.shape[-1]))))


def _filled(codes: Array, depth: int) -> Array:
    """Return codes [batch, up to depth, frames] with silent ones in place of the codebooks that are missing."""
    return np.pad(codes, ((0, 0), (0, depth - codes.shape[1]), (0, 0)), constant_values=SILENT)


def _ready(stream: Stream, held: int) -> int:
    """Return how many whole chunks can follow those given out, when so many units are held."""
    counts = stream._counts
    return max(0, (counts["first"] + held - stream.side.context - counts["units"]) // stream.chunk)
