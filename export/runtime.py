"""Exported codecs without torch: streams of audio to codes and back on numpy and ONNX Runtime alone.

    codec = StreamingCodec("toneme-24k-onnx")
    encoder, decoder = codec.encoder(), codec.decoder()
    for pcm in microphone:                       # float32 at codec.sample_rate, any number of samples
        speaker.write(decoder.push(encoder.push(pcm)))
    speaker.write(decoder.push(encoder.flush())), speaker.write(decoder.flush())

The pieces joined equal the codes and the audio of the whole, wherever it was cut. One `StreamingCodec` serves any number of
streams in any number of threads; a stream belongs to one conversation, and calls to it wait for each other.
"""

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

from ..kernels.errors import CheckpointError, MissingDependencyError, ShapeError
from ..kernels.onnx_runtime import CPU, load_onnxruntime, load_session
from .huge_pages import large_pages
from .manifest import FILE, LABEL, read_manifest
from .runtime_chunks import ChunkDecoder, ChunkEncoder
from .runtime_steps import StepDecoder, StepEncoder
from .runtime_streams import Array, Decoder, Encoder, as_batch, only
from .storage import beside, weights_in

AGAIN = "export the codec again, with --force"


class StreamingCodec:
    """An exported codec.

    Args:
        folder: what `codec export` made.
        threads: that one call may use; streams in several threads gain more from 1.
        providers: of ONNX Runtime, the CPU's by default.
        large_pages: ask Linux for pages of 2 MB for the weights (`huge_pages`) of a codec that goes frame by frame: steps of
            streams are a tenth to a fifth faster. Chunks take as long without.

    Attributes:
        manifest: what `codec.json` says.
        sample_rate: Hz.
        channels: of the audio.
        codebooks: how many there are, streams joined.

    Raises:
        CheckpointError: if the folder holds no exported codec.
        MissingDependencyError: if onnxruntime is not installed.
    """

    def __init__(
        self, folder: str | Path, threads: int = 1, providers: list[str] | None = None, large_pages: bool = True
    ) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(folder)
        self.sample_rate, self.channels = self.manifest.sample_rate, self.manifest.channels
        self.codebooks = self.manifest.codebooks
        self._threads, self._providers = threads, providers or [CPU]
        self._large_pages = large_pages
        self._sessions: dict[str, Any] = {}
        self._lock = threading.Lock()

    def encoder(self, batch: int = 1, codebooks: int | None = None, chunk_seconds: float | None = None) -> Encoder:
        """Return a new stream of audio to codes; `batch` streams run in step where more than one is asked for.

        Args:
            batch: streams that run in step.
            codebooks: how many to use, all by default.
            chunk_seconds: audio that a codec in chunks works on at once, by default what `codec.json` says. Shorter chunks come
                sooner and cost more. Codecs that go frame by frame do so whatever is asked for.

        Raises:
            ShapeError: if there are fewer codebooks, or `chunk_seconds` is no number above 0.
        """
        return self._encoder(batch, codebooks, whole=False, chunk_seconds=chunk_seconds)

    def decoder(self, batch: int = 1, chunk_seconds: float | None = None) -> Decoder:
        """Return a new stream of codes to audio; for `chunk_seconds` see `encoder`."""
        return self._decoder(batch, whole=False, chunk_seconds=chunk_seconds)

    def _encoder(self, batch: int, codebooks: int | None, whole: bool, chunk_seconds: float | None = None) -> Encoder:
        if codebooks is not None and not 1 <= codebooks <= self.codebooks:
            raise ShapeError(f"codebooks must be from 1 to {self.codebooks}; got {codebooks}")
        side = self.manifest.encoder
        if side is None:
            raise ShapeError(
                f"{self.manifest.codec} only decodes without torch: encode with `codec encode` and toneme's own path"
            )
        kind = StepEncoder if side.mode == "steps" else ChunkEncoder
        return kind(self, side, batch, codebooks or self.codebooks, whole, chunk_seconds)

    def _decoder(self, batch: int, whole: bool, chunk_seconds: float | None = None) -> Decoder:
        kind = StepDecoder if self.manifest.decoder.mode == "steps" else ChunkDecoder
        return kind(self, self.manifest.decoder, batch, whole, chunk_seconds)

    def encode(self, pcm: Array, codebooks: int | None = None) -> "Array | tuple[Array, ...]":
        """Return the codes of whole audio [batch, channels, samples] (or [samples])."""
        pcm = as_batch(pcm, self.channels, None)
        encoder = self._encoder(len(pcm), codebooks, whole=True)
        pieces = encoder._take(pcm), encoder._finish()
        return only(tuple(np.concatenate(pair, axis=-1) for pair in zip(*pieces, strict=True)))

    def decode(self, codes: "Array | tuple[Array, ...]", n_samples: int | None = None) -> Array:
        """Return the audio [batch, channels, samples] of whole codes; `n_samples` long where that is given."""
        first = np.asarray(codes[0] if isinstance(codes, tuple | list) else codes)
        decoder = self._decoder(len(first) if first.ndim == 3 else 1, whole=True)  # which refuses other shapes
        return np.concatenate([decoder.push(codes, n_samples), decoder.flush(n_samples)], axis=-1)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy, or another process, makes the same codec of: graphs are loaded there anew."""
        return {**self.__dict__, "_sessions": {}, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def session(self, file: str) -> Any:
        """Return the loaded graph of a file, each loaded once."""
        with self._lock:
            if file not in self._sessions:
                self._sessions[file] = self._load(self.folder / file)
            return self._sessions[file]

    def _load(self, path: Path) -> Any:
        try:
            load_onnxruntime()
        except ImportError:
            raise MissingDependencyError("to run an exported codec, install onnxruntime: pip install onnxruntime") from None
        if not path.is_file():
            raise CheckpointError(f"{path} is missing: {AGAIN}")
        _check_name(path)
        try:
            wanted = self._large_pages and self.manifest.in_steps and self._providers == [CPU]
            weights = weights_in(beside(path)) if wanted and beside(path).is_file() else {}
            with large_pages(4 * path.stat().st_size if wanted and not weights else 0):
                session = load_session(str(path), self._threads, self._providers, weights)
        except Exception as error:  # onnxruntime's own types are not exported everywhere
            raise CheckpointError(f"{path} cannot be loaded ({str(error)[:200]}): {AGAIN}") from None
        made_of = self.manifest.weights_hash
        if session.get_modelmeta().custom_metadata_map.get(LABEL, made_of) != made_of:
            raise CheckpointError(f"{path} was made of other weights than {FILE} beside it says: {AGAIN}")
        return session


def _check_name(path: Path) -> None:
    """Refuse a name that ONNX Runtime cannot be given."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode(errors="backslashreplace")
        raise CheckpointError(f"{shown} cannot be loaded: ONNX Runtime takes names in UTF-8 alone; rename it") from None
