"""Streams over a WebSocket: PCM in and codes out, and back. API.md says what the messages are."""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any

import numpy as np
from fastapi import WebSocket, WebSocketDisconnect

from ..codecs.chunk_seconds import checked_seconds
from ..kernels.errors import ShapeError, TonemeError
from .manifest import Manifest, Side
from .runtime import StreamingCodec
from .runtime_streams import Array
from .server_limits import ENDING, MESSAGE_BYTES, NOT_UNDERSTOOD, RESTARTS, TOO_BIG, Limits, RefusedError, Slots

PCM = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}
REASON_BYTES = 123  # of a close frame


class Layout:
    """How codes lie in messages: unit by unit; in a unit stream by stream, frame by frame, one code per codebook."""

    def __init__(self, manifest: Manifest, codebooks: int) -> None:
        left, self.depths = codebooks, []
        for stream in manifest.streams:
            self.depths.append(min(left, len(stream.codebook_sizes)))
            left -= self.depths[-1]
        self.ratios = [manifest.decoder.unit // stream.hop for stream in manifest.streams]
        largest = max(size for stream in manifest.streams for size in stream.codebook_sizes)
        self.type = np.dtype("<u2" if largest <= 1 << 16 else "<u4")
        self.unit = sum(ratio * depth for ratio, depth in zip(self.ratios, self.depths, strict=True))

    def to_bytes(self, streams: tuple[Array, ...]) -> bytes:
        """Return the bytes of codes [1, codebooks, frames] per stream, whole units."""
        units = streams[0].shape[-1] // self.ratios[0]
        shapes = zip(streams, self.ratios, self.depths, strict=True)
        parts = [codes[0].T.reshape(units, ratio * depth) for codes, ratio, depth in shapes]
        return np.concatenate(parts, axis=1).astype(self.type).tobytes()

    def from_bytes(self, data: bytes) -> tuple[Array, ...]:
        """Undo `to_bytes`.

        Raises:
            ShapeError: if these are not whole units.
        """
        size = self.unit * self.type.itemsize
        if len(data) % size:
            raise ShapeError(f"a message of codes must hold whole units of {size} bytes; got {len(data)} bytes")
        units = np.frombuffer(data, self.type).astype(np.int64).reshape(-1, self.unit)
        streams, at = [], 0
        for ratio, depth in zip(self.ratios, self.depths, strict=True):
            part = units[:, at : at + ratio * depth]
            streams.append(np.ascontiguousarray(part.reshape(len(units) * ratio, depth).T)[None])
            at += ratio * depth
        return tuple(streams)


class Conversation(ABC):
    """One client's stream in one direction: bytes in, bytes out."""

    latency: int  # samples

    def __init__(self, codec: StreamingCodec, query: Mapping[str, str], limits: Limits) -> None:
        self.codec, self.limits, self.samples = codec, limits, 0
        self.codebooks = whole_number(query, "codebooks", codec.codebooks)
        if not 1 <= self.codebooks <= codec.codebooks:
            raise ShapeError(f"codebooks must be from 1 to {codec.codebooks}; got {self.codebooks}")
        if query.get("format", "s16le") not in PCM:
            raise ShapeError(f"format must be one of {', '.join(PCM)}; got {query['format'][:20]}")
        self.format = query.get("format", "s16le")
        if (rate := whole_number(query, "sample_rate", codec.sample_rate)) != codec.sample_rate:
            raise ShapeError(f"this codec works at {codec.sample_rate} Hz: resample from {rate} Hz, or POST a file")
        self.layout = Layout(codec.manifest, self.codebooks)

    def about(self) -> dict[str, Any]:
        """Return what the client must know before it sends."""
        manifest = self.codec.manifest
        return {
            "codec": manifest.codec, "weights_hash": manifest.weights_hash, "sample_rate": self.codec.sample_rate,
            "channels": self.codec.channels, "format": self.format, "codebooks": self.codebooks,
            "codes": {"type": "u16le" if self.layout.type.itemsize == 2 else "u32le", "unit_codes": self.layout.unit,
                      "unit_samples": manifest.decoder.unit},
            "latency": self.latency,
        }  # fmt: skip

    def take(self, data: bytes) -> bytes:
        """Take a message and return what can be answered to it."""
        if len(data) > MESSAGE_BYTES:
            raise RefusedError(f"a message holds at most {MESSAGE_BYTES} bytes: send shorter ones", 413, TOO_BIG)
        return self._take(data)

    def count(self, samples: int) -> None:
        """Count audio against the limit."""
        self.samples += samples
        self.limits.check_seconds(self.samples / self.codec.sample_rate)

    @abstractmethod
    def _take(self, data: bytes) -> bytes: ...

    @abstractmethod
    def finish(self) -> bytes:
        """Return what still waits."""


class EncodingConversation(Conversation):
    """PCM to codes."""

    def __init__(self, codec: StreamingCodec, query: Mapping[str, str], limits: Limits) -> None:
        super().__init__(codec, query, limits)
        chunk = chunk_asked(query, codec.manifest.encoder or codec.manifest.decoder, codec.sample_rate, limits)
        self.stream = codec.encoder(codebooks=self.codebooks, chunk_seconds=chunk)
        self.latency = self.stream.latency

    def about(self) -> dict[str, Any]:
        return {**super().about(), "window": self.stream.window}

    def _take(self, data: bytes) -> bytes:
        frame = PCM[self.format].itemsize * self.codec.channels
        if len(data) % frame:
            raise ShapeError(f"a message of PCM must hold whole samples of {frame} bytes; got {len(data)} bytes")
        pcm = np.frombuffer(data, PCM[self.format]).reshape(-1, self.codec.channels).T
        self.count(pcm.shape[1])
        return self._bytes(self.stream.push(pcm))

    def finish(self) -> bytes:
        return self._bytes(self.stream.flush())

    def _bytes(self, codes: Any) -> bytes:
        return self.layout.to_bytes(codes if isinstance(codes, tuple) else (codes,))


class DecodingConversation(Conversation):
    """Codes to PCM."""

    def __init__(self, codec: StreamingCodec, query: Mapping[str, str], limits: Limits) -> None:
        super().__init__(codec, query, limits)
        chunk = chunk_asked(query, codec.manifest.decoder, codec.sample_rate, limits)
        self.stream = codec.decoder(chunk_seconds=chunk)
        self.latency = self.stream.latency

    def _take(self, data: bytes) -> bytes:
        streams = self.layout.from_bytes(data)
        self.count(streams[0].shape[-1] // self.layout.ratios[0] * self.codec.manifest.decoder.unit)
        return self._bytes(self.stream.push(streams))

    def finish(self) -> bytes:
        return self._bytes(self.stream.flush())

    def _bytes(self, audio: Array) -> bytes:
        frames = audio[0].T
        if self.format == "s16le":
            frames = np.clip(np.rint(frames.astype(np.float64) * 32768), -32768, 32767)
        return frames.astype(PCM[self.format]).tobytes()


async def converse(
    socket: WebSocket,
    begin: Callable[[Mapping[str, str]], Conversation],
    limits: Limits,
    slots: Slots,
    pool: Executor,
) -> None:
    """Serve one WebSocket until its stream ends, it breaks a rule, or its client is gone."""
    await socket.accept()
    try:
        with slots.take():
            stream = begin(socket.query_params)
            await socket.send_json(stream.about())
            await _exchange(socket, stream, limits, pool)
    except RefusedError as refusal:
        await _close(socket, str(refusal), refusal.close)
    except TonemeError as error:
        await _close(socket, str(error), NOT_UNDERSTOOD)
    except asyncio.CancelledError:
        await _close(socket, ENDING, RESTARTS)
    except WebSocketDisconnect:
        return


async def _exchange(socket: WebSocket, stream: Conversation, limits: Limits, pool: Executor) -> None:
    loop = asyncio.get_running_loop()
    while True:
        message = await _in_time(socket.receive(), limits.idle, "nothing came")
        if message["type"] == "websocket.disconnect":
            return
        if message.get("bytes") is not None:
            reply, ended = await loop.run_in_executor(pool, stream.take, message["bytes"]), False
        else:
            _check_end(message["text"])
            reply, ended = await loop.run_in_executor(pool, stream.finish), True
        if reply:
            await _in_time(socket.send_bytes(reply), limits.idle, "the answer was not taken")
        if ended:
            await socket.send_json({"end": True, "samples": stream.samples})
            await socket.close(1000)
            return


async def _in_time(action: Any, seconds: float, what: str) -> Any:
    try:
        async with asyncio.timeout(seconds):  # wait_for would make a task for every message
            return await action
    except TimeoutError:
        raise RefusedError(f"{what} for {seconds:g} s: connect again to go on", 408) from None


def _check_end(text: str) -> None:
    """Raise ShapeError unless a text message says that the stream ends."""
    try:
        ends = json.loads(text) == {"end": True}
    except (ValueError, RecursionError):
        ends = False
    if not ends:
        raise ShapeError('a text message must be {"end": true}; audio and codes are binary messages')


async def _close(socket: WebSocket, sentence: str, code: int) -> None:
    """Say why in a message, and as much of it as fits in the close frame."""
    try:
        await asyncio.wait_for(socket.send_json({"error": sentence}), 5)
        await socket.close(code, sentence.encode()[:REASON_BYTES].decode(errors="ignore"))
    except (TimeoutError, WebSocketDisconnect, RuntimeError):
        return  # the client is gone already


def whole_number(query: Mapping[str, str], name: str, default: int) -> int:
    """Return a parameter of the address as a number.

    Raises:
        ShapeError: if it is none.
    """
    text = query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise ShapeError(f"{name} must be a whole number; got {text[:20]!r}")
    return int(text)


def chunk_asked(query: Mapping[str, str], side: Side, sample_rate: int, limits: Limits) -> float | None:
    """Return the seconds of a chunk that a stream asks for, the server's where it asks for none.

    Raises:
        ShapeError: if that is no number above 0, or, of a codec in chunks, not within the limits.
    """
    text = query.get("chunk_seconds")
    if text is None:
        return limits.chunk
    try:
        seconds = checked_seconds(float(text))
    except (ValueError, ShapeError):
        raise ShapeError(f"chunk_seconds must be a number of seconds above 0, such as 0.5; got {text[:20]!r}") from None
    bounds = least, most = limits.chunks(side, sample_rate)
    if not least <= side.chunk_of(seconds, sample_rate) <= most:
        said = " to ".join(f"{units * side.unit / sample_rate:.3g}" for units in bounds)
        raise ShapeError(f"chunk_seconds must be from {said}; got {text[:20]}")
    return seconds
