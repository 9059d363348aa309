"""What every exported family is asked for: PyTorch's codes and audio at any length, cut anywhere, in any depth."""

import io
from pathlib import Path

import numpy as np
import torch

from toneme.codecs.base import Codec
from toneme.codecs.coder import Coder, TorchCoder
from toneme.codecs.pieces import piece_of
from toneme.codecs.tokenfile import TokenReader, TokenWriter
from toneme.export.codec import ExportedCodec
from toneme.export.coder import ExportedCoder
from toneme.export.runtime import StreamingCodec

from .agreement import AUDIO, check_share

LENGTHS = (1, 39, 40, 41, 333, 1000, 3999)


def lively(codec: Codec) -> Codec:
    """Give the codebooks of an untrained codec room, so that ties are rare."""
    with torch.no_grad():
        for name, values in codec.named_buffers():
            if name.endswith("codebooks"):
                values.normal_().mul_(0.3)
    return codec.eval()


def noise(samples: int, batch: int = 2) -> torch.Tensor:
    """Return quiet noise [batch, 1, samples]."""
    return torch.randn(batch, 1, samples, generator=torch.Generator().manual_seed(samples)) * 0.1


def check_lengths(codec: Codec, exported: StreamingCodec, lengths: tuple[int, ...] = LENGTHS) -> None:
    """Codes and audio of whole items of many lengths are PyTorch's."""
    for samples in lengths:
        audio = noise(samples)
        tokens = codec.encode(audio)
        for ours, theirs in zip(_streams(exported.encode(audio.numpy())), tokens.streams, strict=True):
            check_share(ours, theirs.numpy(), least=0.99)
        codes = tuple(stream.numpy() for stream in tokens.streams)
        sound = exported.decode(codes, samples)
        np.testing.assert_allclose(sound, codec.decode(tokens).numpy(), atol=AUDIO, rtol=0)


def check_cuts(codec: Codec, exported: StreamingCodec, samples: int, sizes: tuple[int, ...]) -> None:
    """However audio and codes are cut, the pieces joined are those of the whole stream."""
    audio = noise(samples, batch=1)
    tokens = codec.encode(audio)
    codes = tuple(stream.numpy() for stream in tokens.streams)
    whole = exported.decode(codes)
    for size in sizes:
        encoder, decoder = exported.encoder(), exported.decoder()
        pieces = [_streams(encoder.push(part)) for part in np.split(audio.numpy(), range(size, samples, size), axis=-1)]
        pieces.append(_streams(encoder.flush()))
        for found, expected in zip(zip(*pieces, strict=True), codes, strict=True):
            check_share(np.concatenate(found, axis=-1), expected, least=0.99)
        sound = [decoder.push(piece) for piece in _frames(codes, 1 + size // 100)] + [decoder.flush()]
        np.testing.assert_allclose(np.concatenate(sound, axis=-1), whole, atol=AUDIO, rtol=0)


def check_chunks(codec: Codec, folder: Path, chunk_seconds: float, samples: int) -> None:
    """Chunks of a length that is asked for come when they are said to, with the codes, window and audio of PyTorch's."""
    audio = noise(samples, batch=1)
    theirs, back = codec.stream_encoder(chunk_seconds=chunk_seconds), codec.stream_decoder(1, chunk_seconds)
    pieces = [theirs.push_tokens(audio), theirs.flush_tokens()]
    sound = torch.cat([*(back.push(piece) for piece in pieces), back.flush()], dim=-1)[0].numpy()
    for coder in (ExportedCoder(folder), TorchCoder(ExportedCodec(folder))):
        encoding = coder.encoding(codec.spec.codebooks, chunk_seconds)
        decoding = coder.decoding(chunk_seconds)
        assert (encoding.latency, decoding.latency) == (theirs.latency, back.latency)
        assert coder.as_codec().latencies(chunk_seconds) == (theirs.latency, back.latency)
        waits = encoding.latency
        parts = [encoding.push(part) for part in np.split(audio[0].numpy(), [waits - 1, waits], axis=-1)] + [encoding.flush()]
        assert [part.streams[0].shape[-1] > 0 for part in parts[:2]] == [False, True]
        assert {part.header.metadata.get("window", "") for part in parts} == {theirs.window}
        for i in range(len(codec.spec.streams)):
            found = np.concatenate([part.streams[i] for part in parts], axis=-1)
            check_share(found, torch.cat([piece.streams[i] for piece in pieces], dim=-1)[0].numpy(), least=0.99)
        ours = np.concatenate([decoding.push(piece_of(piece)) for piece in pieces] + [decoding.flush()], axis=-1)
        np.testing.assert_allclose(ours, sound, atol=AUDIO, rtol=0)


def check_depths(codec: Codec, exported: StreamingCodec) -> None:
    """Fewer codebooks are a prefix, and sound as PyTorch lets them."""
    audio = noise(1000)
    full = _streams(exported.encode(audio.numpy()))
    for depth in range(1, exported.codebooks):
        shallow = _streams(exported.encode(audio.numpy(), depth))
        for few, all_ in zip(shallow, full, strict=True):
            np.testing.assert_array_equal(few, all_[:, : few.shape[1]])
        assert sum(few.shape[1] for few in shallow) == depth
        tokens = codec.tokens_from_codes([torch.from_numpy(few.copy()) for few in shallow], 1000)
        np.testing.assert_allclose(exported.decode(shallow, 1000), codec.decode(tokens).numpy(), atol=AUDIO, rtol=0)


def check_files(folder: Path, codebooks: int, lengths: tuple[int, ...]) -> None:
    """Files of tokens and their audio are those of the same graphs behind the interface of torch, however audio is cut."""
    ours, theirs = ExportedCoder(folder), TorchCoder(ExportedCodec(folder))
    for samples in lengths:
        audio = noise(samples, batch=1)[0].numpy()
        for size in (97, samples):
            data = file_of(ours, audio, codebooks, size)
            assert data == file_of(theirs, audio, codebooks, size)
            sound = sound_of(ours, data)
            np.testing.assert_array_equal(sound, sound_of(theirs, data))
            assert np.abs(sound).max() > 0


def file_of(coder: Coder, audio: np.ndarray, codebooks: int, size: int) -> bytes:
    """Return the token file of audio [channels, samples] that comes in pieces of a size."""
    file, encoding = io.BytesIO(), coder.encoding(codebooks)
    with TokenWriter(file) as writer:
        for start in range(0, audio.shape[-1], size):
            writer.write(encoding.push(audio[:, start : start + size]))
        writer.write(encoding.flush())
    return file.getvalue()


def sound_of(coder: Coder, data: bytes) -> np.ndarray:
    """Return the audio of a token file [channels, samples]."""
    decoding = coder.decoding()
    with TokenReader(io.BytesIO(data)) as reader:
        parts = [decoding.push(piece) for piece in reader.pieces()] + [decoding.flush()]
        return np.concatenate(parts, axis=-1)[:, : reader.header.n_samples]


def _streams(codes) -> tuple[np.ndarray, ...]:
    return codes if isinstance(codes, tuple) else (codes,)


def _frames(codes: tuple[np.ndarray, ...], units: int) -> list[tuple[np.ndarray, ...]]:
    """Cut streams into pieces of as much time each."""
    slowest = min(stream.shape[-1] for stream in codes)
    ratios = [stream.shape[-1] // slowest for stream in codes]
    return [
        tuple(stream[..., at * ratio : (at + units) * ratio] for stream, ratio in zip(codes, ratios, strict=True))
        for at in range(0, slowest, units)
    ]
