"""Toneme's own codec: spectra in, ConvNeXt frames, residual codes, ConvNeXt frames, spectra out; causal throughout.

    waveform -> STFT -> [blocks at 100 Hz] -> pairs -> [blocks at 50 Hz] -+-> latents -> RVQ
            '-> lapped transform of the low band, level divided out ------'

    RVQ -> latents -> [blocks at 50 Hz] -+-> pairs apart -> [blocks at 100 Hz] -> inverse STFT -+-> waveform
                                         '-> gains * latents -> inverse lapped transform -------'

The straight path gives the waveform of the low band; the blocks give its level and all the rest. The encoder may look
`lookahead` samples ahead; the inverse STFT finishes a sample `window - stft_hop` samples late. The head is that of
Siuzdak, "Vocos", 2023, with real and imaginary parts for its phase and windows that end at their hop so that it streams.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..quantizers.residual import ResidualVQ
from .base import Codec, Encoded
from .errors import CheckpointError
from .layers.convnext import CausalStack
from .layers.lapped import LappedAnalysis, LappedSynthesis
from .layers.linear import Linear
from .layers.stft import CausalISTFT, CausalSTFT, wide
from .spec import CodecSpec, StreamSpec
from .streaming import StreamDecoder, StreamEncoder

PIECE_FRAMES = 1500  # frames worked on at once, so that memory does not grow with length
STRAIGHT_LEVEL = 3.0  # the shapes' share of the latents: their norm is at most this


@dataclass(frozen=True)
class TonemeConfig:
    """Everything that shapes the codec. Lengths in samples, `blocks` as (at 100 Hz, at 50 Hz).

    The first `semantic` codebooks were taught by a speech model; nothing but what is told of them depends on it. Latents end in
    `taught_dim` numbers beside the straight path that the first codebook alone codes, for what a teacher says.
    """

    sample_rate: int = 24000
    hop: int = 480
    stft_hop: int = 240
    window: int = 960
    lookahead: int = 480
    encoder_dim: int = 256
    encoder_blocks: tuple[int, int] = (3, 4)
    decoder_dim: int = 320
    decoder_blocks: tuple[int, int] = (6, 4)
    kernel: int = 7
    expansion: int = 3
    latent_dim: int = 64
    taught_dim: int = 0
    codebooks: int = 8
    codebook_size: int = 1024
    semantic: int = 0
    licence: str = "Apache-2.0"

    def __post_init__(self) -> None:
        if self.hop % self.stft_hop or self.lookahead % self.hop:
            raise CheckpointError(
                f"hop must be a multiple of stft_hop, lookahead one of hop; got {self.hop}, {self.stft_hop}, {self.lookahead}"
            )
        if not 0 <= self.semantic <= max(self.codebooks, 0):
            raise CheckpointError(f"of {self.codebooks} codebooks 0 to {self.codebooks} are semantic; got {self.semantic}")
        if self.taught_dim < 0:
            raise CheckpointError(f"taught_dim must be 0 or more; got {self.taught_dim}")

    @property
    def fold(self) -> int:
        """Spectra per frame of codes."""
        return self.hop // self.stft_hop

    @property
    def width(self) -> int:
        """Numbers of a latent."""
        return self.latent_dim + self.taught_dim

    @property
    def bins(self) -> int:
        """Frequencies of one spectrum."""
        return self.window // 2 + 1


def compress(spectrum: Tensor) -> Tensor:
    """Return features [..., 3 * bins] of a complex spectrum: parts scaled to |s|^0.5, and the log magnitude."""
    magnitude = (spectrum.real.square() + spectrum.imag.square() + 1e-8).sqrt()
    scale = 2 * magnitude**-0.5
    return torch.cat([spectrum.real * scale, spectrum.imag * scale, 1 + 0.25 * magnitude.log()], dim=-1)


class Encoder(nn.Module):
    """Waveform [batch, samples] to latents [batch, frames, width], late by `lookahead`."""

    def __init__(self, config: TonemeConfig) -> None:
        super().__init__()
        self.config = config
        dim, (fast, slow) = config.encoder_dim, config.encoder_blocks
        self.stft = CausalSTFT(config.window, config.stft_hop)
        self.straight = LappedAnalysis(config.hop, config.latent_dim)
        self.enter = Linear(3 * config.bins, dim)
        self.fast = CausalStack(fast, dim, config.kernel, config.expansion)
        self.pair = Linear(dim * config.fold, dim)
        self.slow = CausalStack(slow, dim, config.kernel, config.expansion)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.leave = Linear(dim, config.width)

    def initial_state(self, batch: int) -> list[Any]:
        """Return the state before the first sample."""
        return [layer.initial_state(batch) for layer in (self.stft, self.fast, self.slow, self.straight)]

    def step(self, waveform: Tensor, state: list[Any]) -> tuple[Tensor, list[Any]]:
        """Return the latents of the next samples, a multiple of `hop`."""
        spectrum, stft = self.stft.step(waveform, state[0])
        x, fast = self.fast.step(self.enter(compress(spectrum).to(waveform.dtype)), state[1])
        x, slow = self.slow.step(self.pair(x.unflatten(1, (-1, self.config.fold)).flatten(2)), state[2])
        shape, straight = self.straight.step(waveform, state[3])
        if self.config.taught_dim:
            shape = nn.functional.pad(shape, (0, self.config.taught_dim))
        return self.leave(self.norm(x)) + STRAIGHT_LEVEL * shape, [stft, fast, slow, straight]

    def forward(self, waveform: Tensor) -> Tensor:
        """Return the latents of a whole waveform, ceil(samples / hop) frames."""
        hop, ahead = self.config.hop, self.config.lookahead
        padded = nn.functional.pad(waveform, (0, -waveform.shape[-1] % hop + ahead))
        return self.step(padded, self.initial_state(waveform.shape[0]))[0][:, ahead // hop :]


class Decoder(nn.Module):
    """Latents [batch, frames, width] to waveform [batch, frames * hop], late by the inverse STFT's delay."""

    def __init__(self, config: TonemeConfig) -> None:
        super().__init__()
        self.config = config
        dim, (fast, slow) = config.decoder_dim, config.decoder_blocks
        self.enter = Linear(config.width, dim)
        self.slow = CausalStack(slow, dim, config.kernel, config.expansion)
        self.apart = Linear(dim, dim * config.fold)
        self.fast = CausalStack(fast, dim, config.kernel, config.expansion)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.leave = Linear(dim, 3 * config.bins)
        self.istft = CausalISTFT(config.window, config.stft_hop)
        # both paths must come out at the same time, and the straight one is early by this much
        self.straight = LappedSynthesis(config.hop, config.latent_dim, self.istft.delay - config.hop + config.lookahead)
        self.gain = Linear(dim, config.latent_dim)
        with torch.no_grad():
            # about the level of speech, so that training does not start from a roar
            self.leave.bias[: config.bins] = -4.0

    @property
    def flush_frames(self) -> int:
        """Empty frames that push the last samples out."""
        return -(-self.istft.delay // self.config.hop)

    def initial_state(self, batch: int) -> list[Any]:
        """Return the state before the first frame."""
        return [layer.initial_state(batch) for layer in (self.slow, self.fast, self.istft, self.straight)]

    def step(self, latents: Tensor, state: list[Any]) -> tuple[Tensor, list[Any]]:
        """Return the samples of the next frames, `istft.delay` late."""
        x, slow = self.slow.step(self.enter(latents), state[0])
        shape = latents[..., : self.config.latent_dim] * (self.gain(x).clamp(max=5.0).exp() / STRAIGHT_LEVEL)
        direct, straight = self.straight.step(shape, state[3])
        x, fast = self.fast.step(self.apart(x).unflatten(2, (self.config.fold, -1)).flatten(1, 2), state[1])
        level, real, imaginary = wide(self.leave(self.norm(x))).chunk(3, dim=-1)
        # bounded, so that no code can make a sample overflow
        gain = level.clamp(max=5.0).exp()
        waveform, istft = self.istft.step(torch.complex(gain * real, gain * imaginary), state[2])
        return waveform.to(direct.dtype) + direct, [slow, fast, istft, straight]

    def forward(self, latents: Tensor) -> Tensor:
        """Return the waveform of all frames, in time with the encoder's input."""
        padded = nn.functional.pad(latents, (0, 0, 0, self.flush_frames))
        delay, samples = self.istft.delay, latents.shape[1] * self.config.hop
        return self.step(padded, self.initial_state(latents.shape[0]))[0][:, delay : delay + samples]


class TonemeCodec(Codec):
    """24 kHz mono, 50 frames per second, 8 codebooks of 1024: 0.5 to 4 kbps from one model."""

    Config = TonemeConfig
    family = "toneme"
    pads_exactly = True

    def __init__(self, config: TonemeConfig | None = None, name: str = "toneme-24k") -> None:
        config = config or TonemeConfig()
        super().__init__(config, name)
        self.encoder = Encoder(config)
        self.quantizer = ResidualVQ(config.width, config.codebook_size, config.codebooks, private=config.taught_dim)
        self.decoder = Decoder(config)

    @property
    def spec(self) -> CodecSpec:
        config = self.config
        roles = ("semantic",) * config.semantic + ("acoustic",) * (config.codebooks - config.semantic)
        stream = StreamSpec(config.hop, (config.codebook_size,) * config.codebooks, roles)
        past = (config.kernel - 1) * (sum(config.encoder_blocks) + sum(config.decoder_blocks)) * config.hop
        lookahead = config.lookahead + config.window - config.stft_hop
        return CodecSpec(
            config.sample_rate, 1, (stream,), causal=True, lookahead=lookahead,
            receptive_field=past + 2 * config.window, licence=config.licence,
        )  # fmt: skip

    def _encode(self, waveform: Tensor, codebooks: int) -> Encoded:
        config, samples = self.config, waveform.shape[-1]
        silence = -samples % config.hop + config.lookahead if samples else 0
        stream = self.stream_encoder(waveform.shape[0], codebooks)
        return (stream._code(nn.functional.pad(waveform[:, 0], (0, silence))),), {}

    def _decode(self, streams: tuple[Tensor, ...], side: dict[str, Tensor], n_samples: int) -> Tensor:
        stream, frames = self.stream_decoder(streams[0].shape[0]), streams[0].shape[-1]
        pieces, audio = streams[0].split(PIECE_FRAMES, dim=-1), []
        for number, codes in enumerate(pieces, start=1):
            silence = self.decoder.flush_frames if frames and number == len(pieces) else 0
            latents = self.quantizer.decode(codes).transpose(1, 2)
            audio.append(stream._sound(nn.functional.pad(latents, (0, 0, 0, silence))))
        return torch.cat(audio, dim=-1)[..., : frames * self.config.hop]

    def stream_encoder(
        self, batch: int = 1, codebooks: int | None = None, chunk_seconds: float | None = None
    ) -> "TonemeStreamEncoder":
        return TonemeStreamEncoder(self, batch, codebooks, chunk_seconds)

    def stream_decoder(self, batch: int = 1, chunk_seconds: float | None = None) -> "TonemeStreamDecoder":
        return TonemeStreamDecoder(self, batch, chunk_seconds)


class TonemeStreamEncoder(StreamEncoder):
    """Codes whole hops as they fill, `lookahead` behind the audio."""

    codec: TonemeCodec

    @property
    def latency(self) -> int:
        return self.codec.config.hop + self.codec.config.lookahead

    def _reset(self) -> None:
        config = self.codec.config
        self.state = self.codec.encoder.initial_state(self.batch)
        self.waiting = torch.zeros(self.batch, 0, device=self.codec.device, dtype=self.codec.dtype)
        self.early = config.lookahead // config.hop  # frames still to drop, since they stand for time before the start

    def _push(self, waveform: Tensor) -> Encoded:
        hop = self.codec.config.hop
        joined = torch.cat([self.waiting, waveform[:, 0]], dim=-1)
        ready = joined.shape[-1] // hop * hop
        self.waiting = joined[:, ready:]
        return (self._code(joined[:, :ready]),), {}

    def _flush(self) -> Encoded:
        config = self.codec.config
        if not self.n_samples:
            return (self._code(self.waiting),), {}
        return (self._code(nn.functional.pad(self.waiting, (0, -self.n_samples % config.hop + config.lookahead))),), {}

    def _code(self, waveform: Tensor) -> Tensor:
        if not waveform.shape[-1]:
            return self.codec._empty(self.batch, self.codebooks)[0][0]
        pieces = waveform.split(PIECE_FRAMES * self.codec.config.hop, dim=-1)
        return torch.cat([self._code_piece(piece) for piece in pieces], dim=-1)

    def _code_piece(self, waveform: Tensor) -> Tensor:
        latents, self.state = self.codec.encoder.step(waveform, self.state)
        dropped = min(self.early, latents.shape[1])
        self.early -= dropped
        return self.codec.quantizer.encode(latents[:, dropped:].transpose(1, 2), self.codebooks)


class TonemeStreamDecoder(StreamDecoder):
    """Decodes frames as they come, the inverse STFT's delay behind them."""

    codec: TonemeCodec

    @property
    def latency(self) -> int:
        return self.codec.config.hop + self.codec.decoder.istft.delay

    def _reset(self) -> None:
        self.state = self.codec.decoder.initial_state(self.batch)
        self.early = self.codec.decoder.istft.delay
        self.frames = 0

    def _push(self, streams: tuple[Tensor, ...], side: dict[str, Tensor]) -> Tensor:
        self.frames += streams[0].shape[-1]
        pieces = streams[0].split(PIECE_FRAMES, dim=-1)
        return torch.cat([self._sound(self.codec.quantizer.decode(codes).transpose(1, 2)) for codes in pieces], dim=-1)

    def _flush(self) -> Tensor:
        decoder, config = self.codec.decoder, self.codec.config
        frames = decoder.flush_frames if self.frames else 0
        silence = torch.zeros(self.batch, frames, config.width, device=self.codec.device, dtype=self.codec.dtype)
        return self._sound(silence)[..., : self.frames * config.hop - self.n_samples]

    def _sound(self, latents: Tensor) -> Tensor:
        if not latents.shape[1]:
            return latents.new_zeros(self.batch, 1, 0)
        waveform, self.state = self.codec.decoder.step(latents, self.state)
        dropped = min(self.early, waveform.shape[-1])
        self.early -= dropped
        return waveform[:, None, dropped:]
