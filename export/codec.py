"""An exported codec behind the interface of every other: `Tokens`, whole files, streams, the command line."""

from pathlib import Path

import torch
from torch import Tensor

from ..codecs.base import Codec, Encoded
from ..codecs.spec import CodecSpec
from ..codecs.streaming import StreamDecoder, StreamEncoder
from .coder import refuse_options
from .manifest import Manifest
from .runtime import StreamingCodec
from .runtime_streams import Array


class ExportedCodec(Codec):
    """A folder of `codec export` as a codec: its graphs run in ONNX Runtime on the CPU.

    Raises:
        CheckpointError: if the folder holds no exported codec.
        MissingDependencyError: if onnxruntime is not installed.
    """

    family = "exported"

    def __init__(self, folder: str | Path, threads: int = 1) -> None:
        self.runtime = StreamingCodec(folder, threads)
        super().__init__(None, self.manifest.codec)

    @property
    def manifest(self) -> Manifest:
        """What `codec.json` says."""
        return self.runtime.manifest

    @property
    def spec(self) -> CodecSpec:
        return self.manifest.spec

    @property
    def window(self) -> str:
        """How much audio a frame hears, as the codec that the graphs were made of records it."""
        return self.manifest.window

    @property
    def weights_hash(self) -> str:  # type: ignore[override]
        """Hash of the weights that the graphs were made of."""
        return self.manifest.weights_hash

    @property
    def device(self) -> torch.device:
        """The CPU."""
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        """What the graphs take and give."""
        return torch.float32

    def set_encode_options(self, **options: int) -> None:
        refuse_options(self.name, options)

    def n_frames(self, n_samples: int) -> tuple[int, ...]:
        """Return the frames of each stream for audio of `n_samples`, whole units of them."""
        return self.manifest.n_frames(n_samples)

    def _encode(self, waveform: Tensor, codebooks: int) -> Encoded:
        codes = self.runtime.encode(waveform.numpy(), codebooks)
        return tensors(codes), {}

    def _decode(self, streams: tuple[Tensor, ...], side: dict[str, Tensor], n_samples: int) -> Tensor:
        return torch.from_numpy(self.runtime.decode(tuple(codes.numpy() for codes in streams)))

    @property
    def chunked(self) -> bool:  # type: ignore[override]
        """Whether its streams work in chunks, of any length."""
        return not self.manifest.in_steps

    def latencies(self, chunk_seconds: float | None = None) -> tuple[int | None, int | None]:
        """Return those that `codec.json` gives."""
        return self.manifest.latencies(chunk_seconds)

    def stream_encoder(
        self, batch: int = 1, codebooks: int | None = None, chunk_seconds: float | None = None
    ) -> "ExportedEncoder":
        return ExportedEncoder(self, batch, codebooks, chunk_seconds)

    def stream_decoder(self, batch: int = 1, chunk_seconds: float | None = None) -> "ExportedDecoder":
        return ExportedDecoder(self, batch, chunk_seconds)


class ExportedEncoder(StreamEncoder):
    """A stream of the runtime."""

    codec: ExportedCodec

    def __init__(self, codec: ExportedCodec, batch: int, codebooks: int | None, chunk_seconds: float | None) -> None:
        self.chunk_seconds = chunk_seconds
        super().__init__(codec, batch, codebooks, chunk_seconds)

    @property
    def latency(self) -> int:
        return self.stream.latency

    @property
    def window(self) -> str:
        return self.stream.window

    def _reset(self) -> None:
        self.stream = self.codec.runtime.encoder(self.batch, self.codebooks, self.chunk_seconds)

    def _push(self, waveform: Tensor) -> Encoded:
        return tensors(self.stream.push(waveform.numpy())), {}

    def _flush(self) -> Encoded:
        return tensors(self.stream.flush()), {}


class ExportedDecoder(StreamDecoder):
    """A stream of the runtime."""

    codec: ExportedCodec

    def __init__(self, codec: ExportedCodec, batch: int, chunk_seconds: float | None) -> None:
        self.chunk_seconds = chunk_seconds
        super().__init__(codec, batch, chunk_seconds)

    @property
    def latency(self) -> int:
        return self.stream.latency

    def _reset(self) -> None:
        self.stream = self.codec.runtime.decoder(self.batch, self.chunk_seconds)

    def _push(self, streams: tuple[Tensor, ...], side: dict[str, Tensor]) -> Tensor:
        return torch.from_numpy(self.stream.push(tuple(codes.numpy() for codes in streams)))

    def _flush(self) -> Tensor:
        return torch.from_numpy(self.stream.flush())


def tensors(streams: "Array | tuple[Array, ...]") -> tuple[Tensor, ...]:
    """Return arrays of codes as tensors."""
    return tuple(torch.from_numpy(codes.copy()) for codes in (streams if isinstance(streams, tuple) else (streams,)))
