"""SNAC at 24, 32 and 44.1 kHz: residual codes at several rates, coarse streams slower than fine ones.

Source: Siuzdak, Grötschla and Lanzendörfer, "SNAC: Multi-Scale Neural Audio Codec", 2024, and its published code.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..quantizers.factorised import ResidualFactorisedVQ
from ..quantizers.multiscale import MultiScaleResidual
from .base import Encoded
from .checkpoint import load_official
from .chunked import ChunkedCodec
from .dac import flat_projections, projection_name
from .errors import ShapeError
from .half_precision import inference
from .layers.dac_blocks import DacBlocksConfig, Decoder, Encoder, decoder_names, encoder_names, renamed
from .long_audio import decode_long, encode_long
from .spec import CodecSpec, StreamSpec
from .tokens import Tokens


@dataclass(frozen=True)
class SnacConfig:
    """Everything that shapes the codec.

    Attributes:
        sample_rate: Hz.
        blocks: encoder and decoder.
        frames_per_code: frames of the latents that one code of each stream stands for, coarse first.
        codebook_size, code_dim: of each stream's quantizer.
        licence: of the weights.
    """

    sample_rate: int = 24000
    blocks: DacBlocksConfig = field(default_factory=lambda: SHAPE_24)
    frames_per_code: tuple[int, ...] = (4, 2, 1)
    codebook_size: int = 4096
    code_dim: int = 8
    licence: str = ""


class SnacCodec(ChunkedCodec):
    """Audio to streams of one codebook each, and back.

    Audio is filled with zeros to a multiple of `padded_to` samples, and all of its frames are kept. `decode` leaves out the
    noise that the published decoder draws anew each time, so that it gives the same audio always; `decode_noisy` adds it.
    """

    Config = SnacConfig
    family = "snac"
    config: SnacConfig

    def __init__(self, config: SnacConfig, name: str = "") -> None:
        super().__init__(config, name)
        latent, size, code_dim = config.blocks.latent, config.codebook_size, config.code_dim
        self.encoder = Encoder(config.blocks)
        self.quantizer = MultiScaleResidual(lambda: ResidualFactorisedVQ(latent, size, 1, code_dim), config.frames_per_code)
        self.decoder = Decoder(config.blocks)

    @property
    def padded_to(self) -> int:
        """Samples that audio is filled to a multiple of: whole codes of every stream and whole windows of attention."""
        config = self.config
        return config.blocks.hop * math.lcm(*config.frames_per_code, config.blocks.attention or 1)

    @property
    def spec(self) -> CodecSpec:
        config, reach = self.config, self.config.blocks.reach
        hops = [config.blocks.hop * frames for frames in config.frames_per_code]
        streams = tuple(StreamSpec(hop, (config.codebook_size,), ("acoustic",)) for hop in hops)
        # a coarse code stands for several frames, and zeros beyond the end may be seen as well
        reach = None if reach is None else reach + max(hops)
        return CodecSpec(
            config.sample_rate, 1, streams, causal=False, lookahead=2 * (reach or 0), receptive_field=reach,
            licence=config.licence,
        )  # fmt: skip

    def n_frames(self, n_samples: int) -> tuple[int, ...]:
        """Return the frames of each stream for audio of `n_samples`, those of the zeros after it included."""
        padded = -(-n_samples // self.padded_to) * self.padded_to
        return tuple(padded // stream.hop for stream in self.spec.streams)

    # -- encode and decode --------------------------------------------------------------------------------------

    def _encode(self, waveform: Tensor, codebooks: int) -> Encoded:
        return encode_long(self, waveform, codebooks, self._encode_piece)

    def _encode_piece(self, waveform: Tensor, codebooks: int) -> Encoded:
        latents = self.encoder(pad(waveform, (0, -waveform.shape[-1] % self.padded_to)))
        codes = self.quantizer.encode(latents, codebooks)
        batch, _, frames = latents.shape
        unused = self.config.frames_per_code[codebooks:]
        return (*codes, *(codes[0].new_zeros(batch, 0, frames // n) for n in unused)), {}

    def _decode(self, streams: tuple[Tensor, ...], side: dict[str, Tensor], n_samples: int) -> Tensor:
        return decode_long(self, streams, self._decode_piece)

    def _decode_piece(self, streams: tuple[Tensor, ...], noise: Sequence[Tensor] | None = None) -> Tensor:
        frames = {codes.shape[-1] * n for codes, n in zip(streams, self.config.frames_per_code, strict=True)}
        if len(frames) > 1:
            raise ShapeError(
                f"the streams of {self.name} must cover the same time, {self.config.frames_per_code} frames per code; "
                f"got {[codes.shape[-1] for codes in streams]} codes"
            )
        return self.decoder(self.quantizer.decode([codes for codes in streams if codes.shape[1]]), noise)

    def decode_noisy(self, tokens: Tokens, noise: int | Sequence[Tensor] = 0) -> Tensor:
        """Decode as published, with noise; takes memory in proportion to the length.

        Args:
            tokens: made by this codec.
            noise: a seed, or standard normal [batch, 1, time] for every stage of the decoder, as `noise_shapes` says.

        Raises:
            CheckpointError: if another codec, or this one with other weights, made the tokens.
            ShapeError: if codes are out of range, or the noise is of another shape.
        """
        self.check_tokens(tokens)
        with inference(self):
            return self._decode_noisy(tokens.to(self.device), noise)

    def _decode_noisy(self, tokens: Tokens, noise: int | Sequence[Tensor]) -> Tensor:
        streams, frames = self.check_streams(tokens.streams), tokens.streams[-1].shape[-1]
        shapes = self.noise_shapes(tokens.batch, frames)
        if isinstance(noise, int):
            generator = torch.Generator().manual_seed(noise)
            noise = [torch.randn(shape, generator=generator) for shape in shapes]
        if [tuple(part.shape) for part in noise] != shapes:
            raise ShapeError(f"the noise must be of shapes {shapes}; got {[tuple(part.shape) for part in noise]}")
        with torch.inference_mode(False):  # as in `decode`
            out = torch.zeros(tokens.batch, 1, int(tokens.n_samples.max()), device=self.device)
        for i, n in enumerate(tokens.n_samples.tolist()):
            own = [codes[i : i + 1, :, :length] for codes, length in zip(streams, tokens.lengths[i].tolist(), strict=True)]
            times = self.noise_shapes(1, own[-1].shape[-1])
            parts = [
                part[i : i + 1, :, : time[-1]].to(self.device, self.dtype) for part, time in zip(noise, times, strict=True)
            ]
            if n:
                out[i, :, :n] = self._decode_piece(tuple(own), parts)[0, :, :n]
        return out

    def noise_shapes(self, batch: int, frames: int) -> list[tuple[int, int, int]]:
        """Return the shape of each stage's noise for so many frames of the finest stream."""
        strides = self.config.blocks.strides[::-1]
        return [(batch, 1, frames * math.prod(strides[: i + 1])) for i in range(len(strides))]


# -- official weights -------------------------------------------------------------------------------------------


def convert_snac(weights: Mapping[str, Tensor], name: str) -> SnacCodec:
    """Return the codec `name` with official weights.

    Raises:
        CheckpointError: if keys are missing, unexpected or of another shape.
    """
    codec = SnacCodec(CONFIGS[name], name)
    blocks = codec.config.blocks
    names = {f"encoder.{k}": v for k, v in renamed(codec.encoder, encoder_names(blocks, "encoder.block")).items()}
    names |= {f"decoder.{k}": v for k, v in renamed(codec.decoder, decoder_names(blocks, "decoder.model")).items()}
    for ours in codec.quantizer.state_dict():
        stage = ours.replace(".stages.0.", ".").replace("scales.", "quantizers.")
        names[f"quantizer.{ours}"] = f"quantizer.{projection_name(stage)}"
    load_official(codec, flat_projections(weights), (names,), f"the checkpoint of {name}", r"rel_pos\.inv_freq$")
    return codec.eval()


SHAPE_24 = DacBlocksConfig(48, (2, 4, 8, 8), 768, 1024, depthwise=True, noise=True)
SHAPE_32 = DacBlocksConfig(64, (2, 3, 8, 8), 1024, 1536, depthwise=True, noise=True, attention=32)
CONFIGS = {
    "snac_24khz": SnacConfig(licence="MIT"),
    "snac_32khz": SnacConfig(32000, SHAPE_32, (8, 4, 2, 1), licence="MIT"),
    "snac_44khz": SnacConfig(44100, SHAPE_32, (8, 4, 2, 1), licence="MIT"),
}
OFFICIAL: dict[str, Callable[[Mapping[str, Tensor]], SnacCodec]] = {
    name: functools.partial(convert_snac, name=name) for name in CONFIGS
}
