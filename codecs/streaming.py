"""Streaming: `push` audio, get codes; `push` codes, get audio. Every codec answers to it, whole files are its special case."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from .batches import as_streams
from .chunk_seconds import checked_seconds
from .counts import whole
from .errors import ShapeError
from .half_precision import inference
from .pieces import check_row
from .tokens import Tokens


class StreamEncoder(ABC):
    """Turns audio into codes as it comes; the pieces joined equal the codes of the whole.

    A family implements `latency`, `_push` and `_flush`. What works frame by frame has no use for `chunk_seconds`.
    """

    def __init__(self, codec, batch: int = 1, codebooks: int | None = None, chunk_seconds: float | None = None) -> None:
        if chunk_seconds is not None:
            checked_seconds(chunk_seconds)
        self.codec = codec
        self.batch = _items(batch)
        self.codebooks = codec.spec.check_codebooks(codebooks)
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next push starts a new piece of audio."""
        self.n_samples = 0
        self.finished = False
        self._reset()

    def push_tokens(self, waveform: Tensor) -> Tokens:
        """Take the next samples [batch, channels, n] (any n) and return the tokens that are now certain."""
        if self.finished:
            raise ShapeError("this stream was flushed: call reset() before pushing more audio")
        waveform = self.codec.check_waveform(waveform)
        if waveform.shape[0] != self.batch:
            raise ShapeError(f"this stream takes {self.batch} items at once; got {waveform.shape[0]}")
        self.n_samples += waveform.shape[-1]
        with inference(self.codec):
            tokens = self._tokens(self._push(waveform), None)
        return tokens.clone()  # as in `Codec.encode`

    def flush_tokens(self) -> Tokens:
        """End the audio and return the tokens that were still waiting."""
        if self.finished:
            raise ShapeError("this stream was flushed already: call reset() to start anew")
        self.finished = True
        with inference(self.codec):
            tokens = self._tokens(self._flush(), self.n_samples)
        return tokens.clone()

    def push(self, waveform: Tensor) -> "Tensor | tuple[Tensor, ...]":
        """As `push_tokens`, but only the codes [batch, codebooks, frames] (a tuple where there are several streams)."""
        return _only(self.push_tokens(waveform).streams)

    def flush(self) -> "Tensor | tuple[Tensor, ...]":
        """As `flush_tokens`, but only the codes."""
        return _only(self.flush_tokens().streams)

    def _tokens(self, pieces: "tuple[tuple[Tensor, ...], dict[str, Tensor]]", n_samples: int | None) -> Tokens:
        streams, side = pieces
        samples = None if n_samples is None else [n_samples] * self.batch
        return self.codec.make_tokens(streams, samples, side, self.window, self.codec.encode_options)

    @property
    def window(self) -> str:
        """How much audio a frame hears, as the tokens record it: see `Codec.window`."""
        return self.codec.window

    @property
    @abstractmethod
    def latency(self) -> int:
        """Samples that there must be before the first frame comes out."""

    @abstractmethod
    def _reset(self) -> None: ...

    @abstractmethod
    def _push(self, waveform: Tensor) -> "tuple[tuple[Tensor, ...], dict[str, Tensor]]":
        """Return the streams of codes and side numbers that the samples made certain."""

    @abstractmethod
    def _flush(self) -> "tuple[tuple[Tensor, ...], dict[str, Tensor]]":
        """Return what was still waiting; `self.n_samples` is the whole length."""


class StreamDecoder(ABC):
    """Turns codes into audio as they come; the pieces joined equal the audio of the whole.

    A family implements `latency`, `_push` and `_flush`. `flush(n_samples)` ends the audio at exactly that length. What works
    frame by frame has no use for `chunk_seconds`.
    """

    def __init__(self, codec, batch: int = 1, chunk_seconds: float | None = None) -> None:
        if chunk_seconds is not None:
            checked_seconds(chunk_seconds)
        self.codec = codec
        self.batch = _items(batch)
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next push starts a new piece of audio."""
        self.n_samples = 0
        self.end: int | None = None
        self.finished = False
        self._reset()

    def push(
        self, codes: "Tensor | tuple[Tensor, ...] | Tokens", n_samples: int | None = None, any_weights: bool = False
    ) -> Tensor:
        """Take the next frames and return the audio [batch, channels, n] that is now certain.

        Args:
            codes: the frames; as Tokens where side numbers travel with them.
            n_samples: length of the whole audio, where it is known: nothing beyond it is given out.
            any_weights: sound Tokens though other weights made them, as `Codec.decode`.

        Raises:
            CheckpointError: if another codec, or this one with other weights, made the Tokens.
            ShapeError: if the stream was flushed, or codes or counts are not as they should be.
        """
        if self.finished:
            raise ShapeError("this stream was flushed: call reset() before pushing more codes")
        if isinstance(codes, Tokens):
            self.codec.check_tokens(codes, any_weights)
            check_row(codes.metadata)
        streams, side = self._pieces(codes)
        self.end = self.end if n_samples is None else whole(n_samples, "n_samples")
        with inference(self.codec):
            streams = self.codec.check_streams(streams)
            if len(streams[0]) != self.batch:
                raise ShapeError(f"this stream takes {self.batch} items at once; got {len(streams[0])}")
            audio = self._push(streams, side)
        return self._count(audio if self.end is None else audio[..., : max(0, self.end - self.n_samples)])

    def flush(self, n_samples: int | None = None) -> Tensor:
        """End the stream and return the audio that was still waiting, cut so that all of it is `n_samples` long."""
        if self.finished:
            raise ShapeError("this stream was flushed already: call reset() to start anew")
        n_samples = self.end if n_samples is None else whole(n_samples, "n_samples")
        self.finished = True
        with inference(self.codec):
            tail = self._flush()
        if n_samples is None:
            return self._count(tail)
        if n_samples < self.n_samples:
            raise ShapeError(f"{self.n_samples} samples were given out before the flush at {n_samples}: pass n_samples to push")
        tail = tail[..., : n_samples - self.n_samples]
        missing = n_samples - self.n_samples - tail.shape[-1]
        return self._count(torch.nn.functional.pad(tail, (0, missing)) if missing else tail)

    def _pieces(self, codes: "Tensor | tuple[Tensor, ...] | Tokens") -> "tuple[tuple[Tensor, ...], dict[str, Tensor]]":
        if isinstance(codes, Tokens):
            return codes.streams, dict(codes.side)
        return as_streams(codes), {}

    def _count(self, waveform: Tensor) -> Tensor:
        self.n_samples += waveform.shape[-1]
        return waveform.clone()  # made without gradients, it could not take part in training

    @property
    @abstractmethod
    def latency(self) -> int:
        """Samples that the codes must stand for before all of the first frame's audio has come out."""

    @abstractmethod
    def _reset(self) -> None: ...

    @abstractmethod
    def _push(self, streams: "tuple[Tensor, ...]", side: "dict[str, Tensor]") -> Tensor: ...

    @abstractmethod
    def _flush(self) -> Tensor: ...


def _items(batch: int) -> int:
    if whole(batch, "batch") < 1:
        raise ShapeError(f"a stream has at least one item; got batch {batch}")
    return batch


def _only(streams: "tuple[Tensor, ...]") -> "Tensor | tuple[Tensor, ...]":
    return streams[0] if len(streams) == 1 else streams
