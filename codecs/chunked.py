"""Codecs that stream in chunks both ways, each of which waits for what is heard after it."""

from .base import Codec
from .chunk_seconds import seconds_or
from .chunking import CHUNK_SECONDS, ChunkedDecoder, ChunkedEncoder


class ChunkedCodec(Codec):
    """A codec whose `_encode` and `_decode` take whole audio, and whose streams are chunks of it."""

    chunked = True

    @property
    def stream_context(self) -> int | None:
        """Samples that a chunk sees on either side; None is the receptive field, so that chunks are exact."""
        return None

    @property
    def stream_seconds(self) -> float:
        """Seconds of a chunk where nobody asks for another length."""
        return CHUNK_SECONDS

    def stream_encoder(
        self, batch: int = 1, codebooks: int | None = None, chunk_seconds: float | None = None
    ) -> ChunkedEncoder:
        """Return an encoder of audio in pieces, chunk by chunk."""
        seconds = seconds_or(chunk_seconds, self.stream_seconds)
        return ChunkedEncoder(self, batch, codebooks, self.stream_context, seconds)

    def stream_decoder(self, batch: int = 1, chunk_seconds: float | None = None) -> ChunkedDecoder:
        """Return a decoder of frames in pieces, chunk by chunk."""
        return ChunkedDecoder(self, batch, self.stream_context, seconds_or(chunk_seconds, self.stream_seconds))
