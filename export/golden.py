"""`golden.npz`: made audio, and the codes and the sound that PyTorch makes of it; and how near an exported codec comes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..codecs.base import Codec
from .runtime import StreamingCodec

FILE = "golden.npz"
SECONDS = 1.3


@dataclass(frozen=True)
class Check:
    """What an exported codec made of the golden audio.

    Attributes:
        equal: share of codes that are those of PyTorch, 0 to 1.
        error: greatest difference of a sample decoded from PyTorch's codes.
        snr: of those samples against PyTorch's, dB.
    """

    equal: float
    error: float
    snr: float


def made_audio(sample_rate: int, channels: int, seconds: float = SECONDS) -> np.ndarray:
    """Return a rising tone with a swell over quiet noise, float32 [1, channels, samples], the same on every machine."""
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    sweep = 0.3 * np.sin(2 * np.pi * (110 * t + 400 * t**2)) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * t))
    noise = np.random.default_rng(0).standard_normal((1, channels, len(t)))
    return (sweep + 0.01 * noise).astype(np.float32)


def write_golden(codec: Codec, codebooks: int, folder: Path) -> None:
    """Write `golden.npz`: `audio`, `codes.0` (and further streams), `decoded`."""
    audio = made_audio(codec.spec.sample_rate, codec.spec.channels)
    encoder, decoder = codec.stream_encoder(codebooks=codebooks), codec.stream_decoder()
    pieces = [encoder.push_tokens(torch.from_numpy(audio)), encoder.flush_tokens()]
    streams = [torch.cat(pair, dim=-1) for pair in zip(*(piece.streams for piece in pieces), strict=True)]
    decoded = torch.cat([decoder.push(tuple(streams), audio.shape[-1]), decoder.flush(audio.shape[-1])], dim=-1)
    arrays: dict[str, Any] = {f"codes.{n}": stream.numpy() for n, stream in enumerate(streams)}
    np.savez_compressed(folder / FILE, audio=audio, decoded=decoded.numpy(), **arrays)


def share_equal(codec: StreamingCodec, audio: np.ndarray, streams: tuple[np.ndarray, ...]) -> float:
    """Return the share of codes of audio that are the given ones."""
    found = codec.encode(audio)
    found = found if isinstance(found, tuple) else (found,)
    return sum(int((a == b).sum()) for a, b in zip(found, streams, strict=True)) / sum(codes.size for codes in streams)


def read_golden(folder: Path) -> tuple[np.ndarray, tuple[np.ndarray, ...], np.ndarray]:
    """Return the golden audio of a folder, the codes of each stream and the sound of them."""
    with np.load(folder / FILE) as golden:
        count = sum(name.startswith("codes.") for name in golden.files)
        return golden["audio"], tuple(golden[f"codes.{n}"] for n in range(count)), golden["decoded"]


def check(folder: Path) -> Check:
    """Compare an exported codec with its `golden.npz`."""
    codec = StreamingCodec(folder)
    audio, streams, decoded = read_golden(folder)
    equal = share_equal(codec, audio, streams) if codec.manifest.encoder else 1.0
    error = codec.decode(streams, audio.shape[-1]) - decoded
    noise = max(float(np.square(error, dtype=np.float64).mean()), 1e-30)
    snr = 10 * np.log10(max(float(np.square(decoded, dtype=np.float64).mean()), 1e-30) / noise)
    return Check(equal, float(np.abs(error).max()), float(snr))
