"""Whole files of a server: audio to `.tok` and back, a second at a time, so that streams do not wait for a long file."""

import io
from collections.abc import Iterator

import soundfile

from ..codecs.audio_reading import AudioReader
from ..codecs.audio_writing import AudioWriter
from ..codecs.coder import Coder
from ..codecs.errors import AudioError, TokenFileError
from ..codecs.tokenfile import TokenReader, TokenWriter
from .server_limits import Limits, RefusedError

BLOCK_SECONDS = 1.0


def encode_file(codec: Coder, data: bytes, codebooks: int, encoding: str, limits: Limits, target: io.BytesIO) -> Iterator[None]:
    """Write the tokens of an audio file, as `codec encode` does; yields between pieces of work.

    Raises:
        AudioError: if it is damaged, cut, or holds nothing.
        RefusedError: if it is not audio, or too long.
    """
    _check_audio(data)
    stream, taken = codec.encoding(codebooks), 0
    with _reader(codec, data) as reader, TokenWriter(target, encoding=encoding) as writer:
        limits.check_seconds((reader.n_samples or 0) / reader.sample_rate)
        for block in reader.blocks():
            taken += block.shape[-1]
            limits.check_seconds(taken / reader.sample_rate)
            writer.write(stream.push(block))
            yield
        if not taken or reader.truncated:
            wrong = "ends before its header says" if taken else "holds no samples"
            raise AudioError(f"the audio {wrong}: send it again, whole")
        writer.write(stream.flush())


def decode_file(codec: Coder, data: bytes, limits: Limits, target: io.BytesIO) -> Iterator[None]:
    """Write the audio of a token file as WAV of 16 bits; yields between pieces of work.

    Raises:
        TokenFileError: if it is damaged or cut.
        CheckpointError: if another codec or other weights made it.
        RefusedError: if it is too long.
    """
    with TokenReader(io.BytesIO(data)) as reader:
        if reader.index is None:
            raise TokenFileError("the token file has no end record: it was cut short, so send it again, whole")
        samples, spec = reader.index.n_samples, codec.spec
        limits.check_seconds(max(samples, codec.max_samples(reader.index.totals)) / spec.sample_rate)
        decoding, frames = codec.decoding(), [0] * len(spec.streams)
        with AudioWriter(target, spec.sample_rate, spec.channels, n_samples=samples) as writer:
            for piece in reader.pieces():
                codec.check(piece.header)
                frames = [total + codes.shape[-1] for total, codes in zip(frames, piece.streams, strict=True)]
                limits.check_seconds(codec.max_samples(tuple(frames)) / spec.sample_rate)  # the end record may count too few
                writer.write(decoding.push(piece, samples))
                yield
            codec.check_length(samples, reader.index.totals)
            writer.write(decoding.flush(samples))


def _check_audio(data: bytes) -> None:
    """Refuse what libsndfile does not read: a stranger's file is not given to programs that open further files."""
    try:
        soundfile.info(io.BytesIO(data))
    except soundfile.LibsndfileError:
        raise RefusedError("this is not audio that the server reads: send WAV, FLAC, Ogg or MP3", 415) from None


def _reader(codec: Coder, data: bytes) -> AudioReader:
    return AudioReader(io.BytesIO(data), codec.spec.sample_rate, codec.spec.channels, BLOCK_SECONDS)
