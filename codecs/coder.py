"""Audio to tokens and back piece by piece, one item, in arrays: all that commands need of a codec, with torch or without."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import numpy as np

from .errors import ShapeError
from .pieces import Piece, check_maker, check_row, piece_of
from .spec import CodecSpec
from .tokenfile_header import Header

if TYPE_CHECKING:
    from .base import Codec


class Encoding(ABC):
    """Audio of one item to codes as it comes.

    Attributes:
        n_samples: taken so far.
        latency: samples that there must be before the first frame comes out.
    """

    n_samples = 0
    latency: int

    @abstractmethod
    def push(self, block: np.ndarray) -> Piece:
        """Take the next samples, float32 [channels, n], and return the frames that are now certain."""

    @abstractmethod
    def flush(self) -> Piece:
        """End the audio and return the frames that were still waiting; their piece counts the samples of all."""


class Decoding(ABC):
    """Codes of one item to audio as they come.

    Attributes:
        latency: samples that the codes must stand for before all of the first frame's audio has come out.
    """

    latency: int

    @abstractmethod
    def push(self, piece: Piece, n_samples: int | None = None) -> np.ndarray:
        """Take the next frames and return the samples that are now certain, float32 [channels, n].

        Args:
            piece: the frames.
            n_samples: length of the whole audio, where it is known: nothing beyond it is given out.
        """

    @abstractmethod
    def flush(self, n_samples: int | None = None) -> np.ndarray:
        """End the codes and return the samples that were still waiting, cut or filled so that all are `n_samples` if given."""


class Coder(ABC):
    """A codec for commands.

    Attributes:
        name, weights_hash, spec: as a `Codec`'s.
    """

    name: str
    weights_hash: str
    spec: CodecSpec

    @abstractmethod
    def encoding(self, codebooks: int, chunk_seconds: float | None = None) -> Encoding:
        """Return what turns the audio of one item into so many codebooks; for `chunk_seconds` see `Codec.stream_encoder`."""

    @abstractmethod
    def decoding(self, chunk_seconds: float | None = None) -> Decoding:
        """Return what turns the codes of one item into audio; for `chunk_seconds` see `Codec.stream_encoder`."""

    @abstractmethod
    def as_codec(self) -> "Codec":
        """Return the codec itself, which needs torch."""

    def set_decode_options(self, **options: float) -> None:
        """Tell decoding how to work from now on, as `Codec.set_decode_options`."""
        check_options(self.name, options)

    def set_encode_options(self, **options: int) -> None:
        """Tell encoding how to work from now on, as `Codec.set_encode_options`."""
        check_options(self.name, options, encoding=True)

    def check(self, made: Header, any_weights: bool = False) -> None:
        """Raise CheckpointError unless this codec, with these weights, made the codes, ShapeError if they are not in a row."""
        check_maker(made, self.name, self.weights_hash, any_weights)
        check_row(made.metadata)

    def max_samples(self, n_frames: tuple[int, ...]) -> int:
        """Return the most samples that so many frames of each stream can stand for."""
        return self.spec.max_samples(n_frames)

    def check_length(self, n_samples: int, n_frames: tuple[int, ...]) -> None:
        """Raise ShapeError where codes claim over a second more than their frames stand for: a file may claim anything."""
        self.spec.check_length(n_samples, self.max_samples(n_frames))


class TorchCoder(Coder):
    """A `Codec` for commands."""

    def __init__(self, codec: "Codec") -> None:
        self.codec, self.name, self.spec = codec, codec.name, codec.spec

    @property
    def weights_hash(self) -> str:  # type: ignore[override]
        """The codec's; it is made when it is asked for, since weights are many."""
        return self.codec.weights_hash

    def encoding(self, codebooks: int, chunk_seconds: float | None = None) -> Encoding:
        return TorchEncoding(self.codec, codebooks, chunk_seconds)

    def decoding(self, chunk_seconds: float | None = None) -> Decoding:
        return TorchDecoding(self.codec, chunk_seconds)

    def as_codec(self) -> "Codec":
        return self.codec

    def set_decode_options(self, **options: float) -> None:
        self.codec.set_decode_options(**options)

    def set_encode_options(self, **options: int) -> None:
        self.codec.set_encode_options(**options)

    def max_samples(self, n_frames: tuple[int, ...]) -> int:
        return self.codec.max_samples(n_frames)


def check_options(name: str, options: Iterable[str], known: Collection[str] = (), encoding: bool = False) -> None:
    """Raise ShapeError where a codec is told something about decoding, or encoding, that it does not know."""
    if unknown := ", ".join(sorted(set(options) - set(known))):
        alone = "the audio alone says what its codes are" if encoding else "its codes alone say how it sounds"
        has = f"it can be told {', '.join(known)}" if known else alone
        raise ShapeError(f"{name} cannot be told {unknown} when it {'encodes' if encoding else 'decodes'}: {has}")


class TorchEncoding(Encoding):
    """A codec's `StreamEncoder`."""

    def __init__(self, codec: "Codec", codebooks: int, chunk_seconds: float | None = None) -> None:
        self.device = codec.device
        self.stream = codec.stream_encoder(codebooks=codebooks, chunk_seconds=chunk_seconds)
        self.latency = self.stream.latency

    def push(self, block: np.ndarray) -> Piece:
        from torch import from_numpy

        self.n_samples += block.shape[-1]
        return piece_of(self.stream.push_tokens(from_numpy(block)[None].to(self.device)))

    def flush(self) -> Piece:
        return piece_of(self.stream.flush_tokens())


class TorchDecoding(Decoding):
    """A codec's `StreamDecoder`."""

    def __init__(self, codec: "Codec", chunk_seconds: float | None = None) -> None:
        self.device, self.stream = codec.device, codec.stream_decoder(chunk_seconds=chunk_seconds)
        self.latency = self.stream.latency

    def push(self, piece: Piece, n_samples: int | None = None) -> np.ndarray:
        from .tokens import Tokens

        tokens = Tokens.of(piece).to(self.device)
        return self.stream.push(tokens, n_samples, any_weights=True)[0].float().cpu().numpy()  # `Coder.check` looks at them

    def flush(self, n_samples: int | None = None) -> np.ndarray:
        return self.stream.flush(n_samples)[0].float().cpu().numpy()
