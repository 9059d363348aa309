"""Streams over a graph with states: every unit is coded as soon as it is whole. Needs numpy alone."""

import numpy as np

from .runtime_streams import SILENT, Array, Decoder, Encoder


class StepEncoder(Encoder):
    """Runs a graph with states on whole units."""

    def _push(self) -> tuple[Array, ...]:
        units = self._held.shape[-1] // self.side.unit
        if units < (1 if self._counts["units"] else self.side.start):
            return self._none()
        ready = units * self.side.unit
        audio, self._held = self._held[..., :ready], self._held[..., ready:].copy()
        return self._code(audio, ready)

    def _flush(self) -> tuple[Array, ...]:
        if not self._counts["samples"]:
            return self._none()
        audio, self._held = self._held, self._held[..., :0]
        samples = audio.shape[-1] + self.side.tail
        if not samples:
            return self._none()
        padded = np.pad(audio, ((0, 0), (0, 0), (0, self.side.tail + -samples % self.side.unit)))
        return self._code(padded, samples)

    def _code(self, audio: Array, samples: int) -> tuple[Array, ...]:
        """Code whole units of audio, `samples` of which are not padding."""
        pieces = []
        for start, stop in spans(audio.shape[-1] // self.side.unit, self.side.most):
            first, last = start * self.side.unit, stop * self.side.unit
            inputs = {"audio": np.ascontiguousarray(audio[..., first:last])}
            if self.side.length:
                inputs["length"] = np.array([min(last, samples) - first])
            pieces.append(self._skip(self._shallow(self._run(**inputs)), self.side.skip))
            self._counts["units"] += stop - start
        return pieces[0] if len(pieces) == 1 else tuple(np.concatenate(parts, axis=-1) for parts in zip(*pieces, strict=True))


class StepDecoder(Decoder):
    """Runs a graph with states on frames as they come."""

    def _push(self, streams: tuple[Array, ...]) -> Array:
        (codes,) = self._held = self._join(streams)
        if codes.shape[-1] < (1 if self._counts["units"] else self.side.start):
            return self._silence()
        self._held = (codes[..., :0],)
        self._counts["units"] += codes.shape[-1]
        return self._sound(codes)

    def _flush(self) -> Array:
        if self._held is None:
            return self._silence()
        (codes,) = self._held
        self._counts["units"] += codes.shape[-1]
        whole = self._counts["units"] * self.side.unit - self._counts["samples"]
        tail = np.full((self.batch, codes.shape[1], self.side.tail if self._counts["units"] else 0), SILENT)
        return self._sound(np.concatenate([codes, tail], axis=-1))[..., :whole]

    def _sound(self, codes: Array) -> Array:
        pieces = [
            self._run(codes=np.ascontiguousarray(codes[..., start:stop]))[0]
            for start, stop in spans(codes.shape[-1], self.side.most)
        ] or [self._silence()]
        sound = pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=-1)
        return self._skip((sound,), self.side.skip)[0]


def spans(count: int, most: int) -> list[tuple[int, int]]:
    """Return (start, stop) of pieces of `most`, the last one up to twice that, so that no piece is a mere rest."""
    pieces = max(1, count // most) if count else 0
    return [(n * most, count if n == pieces - 1 else (n + 1) * most) for n in range(pieces)]
