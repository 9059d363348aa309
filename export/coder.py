"""An exported codec for commands, which need no torch with it: arrays go from files to its graphs and back."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..codecs.coder import Coder, Decoding, Encoding
from ..codecs.errors import ShapeError
from ..codecs.pieces import Piece
from ..codecs.tokenfile_header import Header
from .runtime import StreamingCodec

if TYPE_CHECKING:
    from ..codecs.base import Codec


class ExportedCoder(Coder):
    """A folder of `codec export` whose graphs run in ONNX Runtime on the CPU.

    Raises:
        CheckpointError: if the folder holds no exported codec.
        MissingDependencyError: if onnxruntime is not installed.
    """

    def __init__(self, folder: str | Path, threads: int = 1) -> None:
        self.runtime = StreamingCodec(folder, threads)
        about = self.manifest = self.runtime.manifest
        self.name, self.weights_hash, self.spec, self._threads = about.codec, about.weights_hash, about.spec, threads

    def encoding(self, codebooks: int, chunk_seconds: float | None = None) -> "ExportedEncoding":
        return ExportedEncoding(self, codebooks, chunk_seconds)

    def decoding(self, chunk_seconds: float | None = None) -> "ExportedDecoding":
        return ExportedDecoding(self, chunk_seconds)

    def set_encode_options(self, **options: int) -> None:
        refuse_options(self.name, options)

    def as_codec(self) -> "Codec":
        from .codec import ExportedCodec  # a torch module

        return ExportedCodec(self.runtime.folder, self._threads)


class ExportedEncoding(Encoding):
    """A stream of the runtime."""

    def __init__(self, coder: ExportedCoder, codebooks: int, chunk_seconds: float | None = None) -> None:
        self.coder, self.stream = coder, coder.runtime.encoder(codebooks=codebooks, chunk_seconds=chunk_seconds)
        self.latency = self.stream.latency

    def push(self, block: np.ndarray) -> Piece:
        self.n_samples += block.shape[-1]
        return self._piece(self.stream.push(block), 0)

    def flush(self) -> Piece:
        used = self.coder.manifest.n_frames(self.n_samples)
        streams = [codes[..., :n] for codes, n in zip(_each(self.stream.flush()), used, strict=True)]
        return self._piece(streams, self.n_samples)

    def _piece(self, codes: "np.ndarray | Sequence[np.ndarray]", n_samples: int) -> Piece:
        about, spec = self.coder.manifest, self.coder.spec
        streams = tuple(part[0] for part in _each(codes))
        sizes = tuple(one.codebook_sizes[: len(part)] for one, part in zip(spec.streams, streams, strict=True))
        header = Header(
            about.codec, about.weights_hash, spec.sample_rate, spec.channels, spec.frame_rates, sizes,
            metadata={"window": window} if (window := self.stream.window) else {},
        )  # fmt: skip
        return Piece(header, streams, n_samples)


class ExportedDecoding(Decoding):
    """A stream of the runtime."""

    def __init__(self, coder: ExportedCoder, chunk_seconds: float | None = None) -> None:
        self.stream = coder.runtime.decoder(chunk_seconds=chunk_seconds)
        self.latency = self.stream.latency

    def push(self, piece: Piece, n_samples: int | None = None) -> np.ndarray:
        return self.stream.push(tuple(codes[None] for codes in piece.streams), n_samples)[0]

    def flush(self, n_samples: int | None = None) -> np.ndarray:
        return self.stream.flush(n_samples)[0]


def refuse_options(name: str, options: Iterable[str]) -> None:
    """Raise ShapeError where an exported codec is told how to encode."""
    if told := ", ".join(options):
        raise ShapeError(f"{name} is exported, and its graphs take the nearest codes: give {told} to the codec itself")


def _each(codes: "np.ndarray | Sequence[np.ndarray]") -> Sequence[np.ndarray]:
    return (codes,) if isinstance(codes, np.ndarray) else codes
