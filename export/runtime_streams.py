"""Streams of an exported codec: what both modes share. Needs numpy alone.

What is documented in `runtime` is here: `push`, `flush`, `reset`, `save` and `restore`.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..kernels.errors import AudioError, ShapeError
from .manifest import Side
from .runtime_rings import states_after
from .runtime_turns import Array, Turns

if TYPE_CHECKING:
    from .runtime import StreamingCodec

SILENT = -1  # the code that stands for no vector
UNKNOWN = -1  # length of audio that nobody has told
WAITING = {"waiting.audio": 2, "waiting.codes": 1}  # axes that are the same whatever waits


class Stream(ABC):
    """What both directions share: states, a lock, saving and restoring.

    Attributes:
        latency: samples that there must be, or that codes must stand for, before all of the first frame comes out.
    """

    def __init__(
        self, codec: "StreamingCodec", side: Side, batch: int, whole: bool, chunk_seconds: float | None = None
    ) -> None:
        if batch < 1:
            raise ShapeError(f"a stream has at least one item; got batch {batch}")
        self.codec, self.side, self.batch = codec, side, batch
        self.chunk = (whole and side.bulk) or side.chunk_of(chunk_seconds, codec.sample_rate)
        self.latency = side.latency(chunk_seconds, codec.sample_rate)
        self.ratios = tuple(side.unit // stream.hop for stream in codec.manifest.streams)
        self._session = codec.session(side.file)
        self._outputs = [value.name for value in self._session.get_outputs()]
        # whole audio comes in large pieces, and calls of several streams may be joined (`batching`)
        self._in_turns = bool(side.states) and not whole and hasattr(self._session, "io_binding")
        self._turns: Turns | None = None
        self._rings = {f"state.{s.name}": s.ring for s in side.states if s.ring is not None}
        self._shapes: list[tuple[int, ...]] = []
        self._lock = threading.RLock()
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next push starts a new piece of audio."""
        with self._lock:
            self._states = {f"state.{s.name}": np.zeros(s.sized(self.batch), s.type) for s in self.side.states}
            self._counts = {"samples": 0, "units": 0, "skipped": 0, "first": 0, "finished": 0, "end": UNKNOWN}
            self._reset()

    def save(self) -> dict[str, Array]:
        """Return everything that the stream remembers, as arrays by name: what `restore` and `numpy.savez` take."""
        with self._lock:
            counts = {f"count.{name}": np.array(value) for name, value in self._counts.items()}
            return {name: value.copy() for name, value in {**self._states, **counts, **self._waiting()}.items()}

    def restore(self, saved: Mapping[str, Array]) -> None:
        """Take up where another stream of the same codec and batch saved.

        Raises:
            ShapeError: if the arrays are not those of such a stream.
        """
        with self._lock:
            own = self.save()
            if set(saved) != set(own) or not all(_fits(name, saved[name], own[name]) for name in own):
                raise ShapeError(
                    "these are not the states of a stream of this codec, direction and batch: restore what save gave"
                )
            self._states = {name: np.array(saved[name], value.dtype) for name, value in self._states.items()}
            self._counts = {name: int(saved[f"count.{name}"]) for name in self._counts}
            self._keep({name: np.array(saved[name], own[name].dtype) for name in self._waiting()})

    def _run(self, **inputs: Array) -> list[Array]:
        """Run the graph once; return its outputs and keep the states after it."""
        shapes = [value.shape for value in inputs.values()]
        again, self._shapes = shapes == self._shapes, shapes
        if self._turns is not None and self._turns.fits(inputs):
            values, self._states = self._turns.run(inputs, self._states)
            return values
        values = self._session.run(self._outputs, {**inputs, **self._states})
        count = len(values) - len(self._states)
        states = states_after(self._states, dict(zip(self._states, values[count:], strict=True)), self._rings)
        same = all(states[name].shape == value.shape for name, value in self._states.items())
        if again and same and self._in_turns:  # the second of its shape in a row: more will come
            self._turns = Turns(self._session, inputs, states, self._outputs, values, self._rings)
        self._states = states
        return values[:count]

    def _check_open(self) -> None:
        if self._counts["finished"]:
            raise ShapeError("this stream was flushed: call reset() to start anew")

    def _skip(self, values: tuple[Array, ...], count: int) -> tuple[Array, ...]:
        """Drop what is left to drop of the first `count` frames or samples."""
        dropped = min(count - self._counts["skipped"], values[0].shape[-1])
        self._counts["skipped"] += dropped
        return tuple(value[..., dropped:] for value in values)

    @abstractmethod
    def _reset(self) -> None: ...

    @abstractmethod
    def _waiting(self) -> dict[str, Array]:
        """Return what was pushed and is still needed, by name."""

    @abstractmethod
    def _keep(self, waiting: dict[str, Array]) -> None:
        """Take what `_waiting` returned."""


class Encoder(Stream):
    """Audio to codes: `push` any number of samples, get the frames that are now certain."""

    def __init__(
        self, codec: "StreamingCodec", side: Side, batch: int, codebooks: int, whole: bool = False,
        chunk_seconds: float | None = None,
    ) -> None:  # fmt: skip
        self.depths = _depths(codec, codebooks)
        super().__init__(codec, side, batch, whole, chunk_seconds)

    @property
    def window(self) -> str:
        """What tokens record of the audio that a frame hears: "chunk=N context=M" in samples where it would hear all of it."""
        if not self.codec.manifest.window or self.side.mode == "steps":
            return self.codec.manifest.window
        return f"chunk={self.chunk * self.side.unit} context={self.side.context * self.side.unit}"

    def push(self, pcm: Array) -> "Array | tuple[Array, ...]":
        """Take the next samples and return codes int64 [batch, codebooks, frames], a tuple where streams differ in rate.

        Args:
            pcm: float [samples], [channels, samples] or [batch, channels, samples] in [-1, 1], or int16, at the codec's rate.

        Raises:
            ShapeError: if the shape does not fit, or the stream was flushed.
            AudioError: if it holds NaN or infinity.
        """
        return only(self._take(as_batch(pcm, self.codec.channels, self.batch)))

    def flush(self) -> "Array | tuple[Array, ...]":
        """End the audio and return the codes that were still waiting."""
        return only(self._finish())

    def _take(self, pcm: Array) -> tuple[Array, ...]:
        with self._lock:
            self._check_open()
            self._counts["samples"] += pcm.shape[-1]
            self._held = np.concatenate([self._held, pcm], axis=-1)
            return self._push()

    def _finish(self) -> tuple[Array, ...]:
        with self._lock:
            self._check_open()
            self._counts["finished"] = 1
            return self._flush()

    def _reset(self) -> None:
        self._held = np.zeros((self.batch, self.codec.channels, 0), np.float32)

    def _waiting(self) -> dict[str, Array]:
        return {"waiting.audio": self._held}

    def _keep(self, waiting: dict[str, Array]) -> None:
        self._held = waiting["waiting.audio"]

    def _none(self) -> tuple[Array, ...]:
        return tuple(np.zeros((self.batch, depth, 0), np.int64) for depth in self.depths)

    def _shallow(self, streams: list[Array]) -> tuple[Array, ...]:
        return tuple(codes[:, :depth] for codes, depth in zip(streams, self.depths, strict=True))

    @abstractmethod
    def _push(self) -> tuple[Array, ...]: ...

    @abstractmethod
    def _flush(self) -> tuple[Array, ...]: ...


class Decoder(Stream):
    """Codes to audio: `push` any number of frames, get the samples that are now certain."""

    def __init__(
        self, codec: "StreamingCodec", side: Side, batch: int, whole: bool = False, chunk_seconds: float | None = None
    ) -> None:
        self._sizes = [np.array(stream.codebook_sizes) for stream in codec.manifest.streams]
        super().__init__(codec, side, batch, whole, chunk_seconds)

    def push(self, codes: "Array | tuple[Array, ...]", n_samples: int | None = None) -> Array:
        """Take the next frames and return audio float32 [batch, channels, samples].

        Args:
            codes: int [codebooks, frames] or [batch, codebooks, frames], a tuple where streams differ in rate; fewer codebooks
                than there are sound coarser.
            n_samples: length of the whole audio, where it is known: nothing beyond it is given out.

        Raises:
            ShapeError: if codes do not fit, or the stream was flushed.
        """
        streams = self._checked(codes)
        with self._lock:
            self._check_open()
            self._counts["end"] = end = self._counts["end"] if n_samples is None else n_samples
            audio = self._push(streams)
            return self._give(audio if end == UNKNOWN else audio[..., : max(0, end - self._counts["samples"])])

    def flush(self, n_samples: int | None = None) -> Array:
        """End the stream and return the audio that was still waiting, cut or filled so that all of it is `n_samples` long.

        Args:
            n_samples: what `push` was told last by default.

        Raises:
            ShapeError: if the stream was flushed, or more samples than that were given out.
        """
        with self._lock:
            self._check_open()
            given, end = self._counts["samples"], self._counts["end"] if n_samples is None else n_samples
            if UNKNOWN < end < given:
                raise ShapeError(f"{given} samples were given out before the flush at {end}: pass n_samples to push")
            self._counts["finished"] = 1
            tail = self._flush()
            if end != UNKNOWN:
                tail = np.pad(tail[..., : end - given], ((0, 0), (0, 0), (0, max(0, end - given - tail.shape[-1]))))
            return self._give(tail)

    def _give(self, audio: Array) -> Array:
        self._counts["samples"] += audio.shape[-1]
        return audio

    def _checked(self, codes: "Array | tuple[Array, ...]") -> tuple[Array, ...]:
        specs = self.codec.manifest.streams
        streams = tuple(codes) if isinstance(codes, tuple | list) else (codes,)
        streams = tuple(part[None] if part.ndim == 2 and self.batch == 1 else part for part in map(np.asarray, streams))
        if len(streams) != len(specs):
            raise ShapeError(f"{self.codec.manifest.codec} has {len(specs)} streams of codes; got {len(streams)}")
        for part, spec in zip(streams, specs, strict=True):
            most = len(spec.codebook_sizes)
            if part.ndim != 3 or part.dtype.kind not in "iu" or len(part) != self.batch or part.shape[1] > most:
                raise ShapeError(
                    f"codes must be integers [{self.batch}, at most {most} codebooks, frames]; "
                    f"got {part.dtype} {list(part.shape)}"
                )
        if not any(part.shape[1] for part in streams):
            raise ShapeError("codes must be of one codebook at least; got none")
        taken = tuple(part.astype(np.int64) for part in streams)
        for part, sizes in zip(taken, self._sizes, strict=True):
            # as numbers without a sign those below 0 are the largest
            if part.size and part.view(np.uint64).max() >= sizes.min() and _beyond(part, sizes):
                raise ShapeError(f"codes must be from 0 to {sizes.max() - 1}; got {part.min()} to {part.max()}")
        return taken

    def _reset(self) -> None:
        self._held: tuple[Array, ...] | None = None

    def _waiting(self) -> dict[str, Array]:
        held = self._held or tuple(np.zeros((self.batch, 0, 0), np.int64) for _ in self.ratios)
        return {f"waiting.codes.{n}": codes for n, codes in enumerate(held)}

    def _keep(self, waiting: dict[str, Array]) -> None:
        held = tuple(waiting.values())
        self._held = held if any(codes.shape[1] for codes in held) else None

    def _join(self, streams: tuple[Array, ...]) -> tuple[Array, ...]:
        if self._held is None:
            return streams
        if any(a.shape[1] != b.shape[1] for a, b in zip(self._held, streams, strict=True)):
            raise ShapeError("the number of codebooks must stay the same throughout a stream: call reset() to change it")
        return tuple(np.concatenate(pair, axis=-1) for pair in zip(self._held, streams, strict=True))

    def _silence(self) -> Array:
        return np.zeros((self.batch, self.codec.channels, 0), np.float32)

    @abstractmethod
    def _push(self, streams: tuple[Array, ...]) -> Array: ...

    @abstractmethod
    def _flush(self) -> Array: ...


def as_batch(pcm: Array, channels: int, batch: int | None) -> Array:
    """Return audio as float32 [batch, channels, samples]; int16 is scaled to [-1, 1).

    Raises:
        ShapeError: if the shape or type does not fit.
        AudioError: if it holds NaN or infinity.
    """
    pcm = np.asarray(pcm)
    if pcm.dtype == np.int16:
        pcm = pcm.astype(np.float32) / 32768
    fits = 1 <= pcm.ndim <= 3 and pcm.dtype.kind == "f"
    shaped = pcm.reshape((1,) * (3 - pcm.ndim) + pcm.shape) if fits else pcm
    if not fits or shaped.shape[1] != channels or (batch is not None and len(shaped) != batch):
        raise ShapeError(
            f"audio must be float or int16 [{batch or 'batch'}, {channels}, samples]; got {pcm.dtype} {list(pcm.shape)}"
        )
    with np.errstate(over="ignore"):  # what 32 bits do not hold is infinite, and refused
        taken = shaped.astype(np.float32, copy=False)
    if not np.isfinite(taken).all():
        raise AudioError("the audio holds NaN or infinite samples: repair or cut them first")
    return taken


def _fits(name: str, saved: Array, own: Array) -> bool:
    """Say whether a saved array can take the place of a stream's own: audio waits in any length, codes in any depth too."""
    fixed = next((axes for kind, axes in WAITING.items() if name.startswith(kind)), own.ndim)
    alike = saved.ndim == own.ndim and saved.shape[:fixed] == own.shape[:fixed]
    return alike and np.can_cast(saved.dtype, own.dtype, "same_kind")


def only(streams: tuple[Array, ...]) -> "Array | tuple[Array, ...]":
    """Return the one stream itself where there is only one."""
    return streams[0] if len(streams) == 1 else streams


def _beyond(codes: Array, sizes: Array) -> bool:
    """Say whether codes [batch, codebooks, frames] are not all in their codebooks."""
    return bool(((codes < 0) | (codes >= sizes[: codes.shape[1], None])).any())


def _depths(codec: "StreamingCodec", codebooks: int) -> tuple[int, ...]:
    """Return how many codebooks of each stream the first `codebooks` of all are."""
    depths = []
    for stream in codec.manifest.streams:
        depths.append(min(codebooks, len(stream.codebook_sizes)))
        codebooks -= depths[-1]
    return tuple(depths)
