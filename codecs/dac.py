"""DAC at 44.1 kHz (8 and 16 kbps), 24 kHz and 16 kHz: residual factorised codes of a convolutional encoder under Snake.

Source: Kumar et al., "High-Fidelity Audio Compression with Improved RVQGAN", 2023, and its published code and checkpoints.
"""

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..quantizers.factorised import ResidualFactorisedVQ
from .base import Encoded
from .checkpoint import load_official
from .chunked import ChunkedCodec
from .errors import ShapeError
from .layers.dac_blocks import DacBlocksConfig, Decoder, Encoder, decoder_names, encoder_names, renamed
from .layers.dac_unpadded import unpadded
from .long_audio import decode_long, encode_long
from .pieces import chunk_frames
from .spec import CodecSpec, StreamSpec
from .tokens import Tokens


@dataclass(frozen=True)
class DacConfig:
    """Everything that shapes the codec.

    Attributes:
        sample_rate: Hz.
        blocks: encoder and decoder. `keeps_length=False` is how the published 16 and 24 kHz models are: their stage of stride
            5 gives one sample less than its share, so that n frames sound for 320 n - 8 samples.
        codebooks, codebook_size, code_dim: of the residual quantizer.
        licence: of the weights.
    """

    sample_rate: int = 44100
    blocks: DacBlocksConfig = field(default_factory=lambda: DacBlocksConfig(keeps_length=False))
    codebooks: int = 9
    codebook_size: int = 1024
    code_dim: int = 8
    licence: str = ""


class DacCodec(ChunkedCodec):
    """Audio to residual codes, each found by cosine in a few dimensions, and back.

    Codes are those of the published `model.encode`, at any length. Its `model.compress` brings audio to -16 LUFS before, and
    cuts what is longer than its window into chunks that overlap, so that its codes are others; its files are read nonetheless.
    """

    Config = DacConfig
    family = "dac"
    config: DacConfig

    def __init__(self, config: DacConfig, name: str = "") -> None:
        super().__init__(config, name)
        self.encoder = Encoder(config.blocks)
        self.quantizer = ResidualFactorisedVQ(config.blocks.latent, config.codebook_size, config.codebooks, config.code_dim)
        self.decoder = Decoder(config.blocks)

    @property
    def spec(self) -> CodecSpec:
        config, reach = self.config, self.config.blocks.reach
        stream = StreamSpec(
            config.blocks.hop, (config.codebook_size,) * config.codebooks, ("acoustic",) * config.codebooks
        )  # fmt: skip
        return CodecSpec(
            config.sample_rate, 1, (stream,), causal=False, lookahead=2 * (reach or 0), receptive_field=reach,
            licence=config.licence,
        )  # fmt: skip

    def _encode(self, waveform: Tensor, codebooks: int) -> Encoded:
        return encode_long(self, waveform, codebooks, self._encode_piece)

    def _encode_piece(self, waveform: Tensor, codebooks: int) -> Encoded:
        latents = self.encoder(pad(waveform, (0, -waveform.shape[-1] % self.spec.hop)))
        return (self.quantizer.encode(latents, codebooks),), {}

    def _decode(self, streams: tuple[Tensor, ...], side: dict[str, Tensor], n_samples: int) -> Tensor:
        return decode_long(self, streams, self._decode_piece)

    def _decode_piece(self, streams: tuple[Tensor, ...]) -> Tensor:
        audio = self.decoder(self.quantizer.decode(streams[0]))
        return pad(audio, (0, streams[0].shape[-1] * self.spec.hop - audio.shape[-1]))

    def _decode_batch(self, tokens: Tokens) -> Tensor:
        if chunk := chunk_frames(tokens.metadata):
            return self._decode_chunks(tokens, chunk)
        return super()._decode_batch(tokens)

    def _decode_chunks(self, tokens: Tokens, chunk: int) -> Tensor:
        """Return the audio of chunks as they stand in a `.dac` file."""
        (codes,), longest = self.check_streams(tokens.streams), int(tokens.n_samples.max()) if tokens.batch else 0
        if codes.shape[-1] % chunk or bool((tokens.lengths != codes.shape[-1]).any()):
            raise ShapeError(f"codes in chunks of {chunk} frames are decoded together; got some of them: decode the whole file")
        self.check_length(longest, (codes.shape[-1],))
        parts = [unpadded(self.decoder, self.quantizer.decode(part)) for part in codes.split(chunk, dim=-1)] if longest else []
        audio = torch.cat(parts or [codes.new_zeros(tokens.batch, 1, 0)], dim=-1)[..., :longest].float()
        n_samples = tokens.n_samples.to(audio.device)[:, None, None]
        audio = pad(audio, (0, longest - audio.shape[-1]))
        audio = audio.masked_fill(torch.arange(longest, device=audio.device) >= n_samples, 0)
        with torch.inference_mode(False):  # or the audio could not take part in training
            return audio.clone()


# -- official weights -------------------------------------------------------------------------------------------


def convert_dac(weights: Mapping[str, Tensor], name: str) -> DacCodec:
    """Return the codec `name` with official weights, named as in the published checkpoint or as in transformers.

    Raises:
        CheckpointError: if keys are missing, unexpected or of another shape.
    """
    codec = DacCodec(CONFIGS[name], name)
    names = published_names(codec)
    ours = {part: _transformers(part, codec) for part in names}
    load_official(codec, flat_projections(weights), (names, ours), f"the checkpoint of {name}")
    return codec.eval()


def published_names(codec: DacCodec) -> dict[str, str]:
    """Return our names of tensors -> those of the published checkpoint."""
    blocks = codec.config.blocks
    names = {f"encoder.{k}": v for k, v in renamed(codec.encoder, encoder_names(blocks, "encoder.block")).items()}
    names |= {f"decoder.{k}": v for k, v in renamed(codec.decoder, decoder_names(blocks, "decoder.model")).items()}
    return names | {f"quantizer.{k}": f"quantizer.{projection_name(k)}" for k in codec.quantizer.state_dict()}


def projection_name(name: str) -> str:
    """Return the published name of a stage's tensor: `stages.0.enter.weight` is `quantizers.0.in_proj.weight`."""
    name = name.replace("stages.", "quantizers.").replace(".enter.", ".in_proj.").replace(".leave.", ".out_proj.")
    return re.sub(r"codebook$", "codebook.weight", name)


def flat_projections(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights with the quantizer's projections, which are published as convolutions of one tap, as matrices."""
    return {
        name: tensor.squeeze(-1) if re.search(r"(in|out)_proj\..*weight", name) and tensor.ndim == 3 else tensor
        for name, tensor in weights.items()
    }


def _transformers(name: str, codec: DacCodec) -> str:
    """Return the name that transformers' DacModel gives a tensor of ours."""
    if name.startswith("quantizer."):
        return f"quantizer.{projection_name(name.removeprefix('quantizer.'))}"
    for ours, theirs in TRANSFORMERS:
        name = re.sub(ours, theirs, name)
    return name


TRANSFORMERS: tuple[tuple[str, Any], ...] = (  # patterns of our names, in order
    (r"^(encoder|decoder)\.first\.", r"\1.conv1."),
    (r"^(encoder|decoder)\.last\.", r"\1.conv2."),
    (r"\.stages\.", ".block."),
    (r"\.units\.(\d)", lambda found: f".res_unit{int(found[1]) + 1}"),
    (r"\.activation\.", ".snake1."),
    (r"\.down\.", ".conv1."),
    (r"\.up\.", ".conv_t1."),
    (r"\.before\.", ".snake1."),
    (r"\.dilated\.", ".conv1."),
    (r"\.between\.", ".snake2."),
    (r"\.mixed\.", ".conv2."),
)
STRIDE_5 = DacBlocksConfig(strides=(2, 4, 5, 8), keeps_length=False)
CONFIGS = {
    "dac_44khz": DacConfig(licence="MIT"),
    "dac_44khz_16kbps": DacConfig(blocks=DacBlocksConfig(latent=128, keeps_length=False), codebooks=18, licence="MIT"),
    "dac_24khz": DacConfig(24000, STRIDE_5, 32, licence="MIT"),
    "dac_16khz": DacConfig(16000, STRIDE_5, 12, licence="MIT"),
}
OFFICIAL: dict[str, Callable[[Mapping[str, Tensor]], DacCodec]] = {
    name: functools.partial(convert_dac, name=name) for name in CONFIGS
}
