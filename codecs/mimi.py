"""Mimi: speech at 12.5 frames a second, causal, a semantic codebook first; SEANet and a transformer on either side.

    encoder: SEANet (25 Hz), transformer, strided convolution (12.5 Hz), split residual quantizer
    decoder: codes, transposed convolution (25 Hz), transformer, SEANet

Source: Défossez et al., "Moshi: a speech-text foundation model for real-time dialogue", 2024, section 3.3, and its published
code and checkpoint.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..quantizers.split import SplitResidualVQ
from .base import Codec, Encoded
from .checkpoint import load_official
from .layers.conv import Conv1d, ConvTranspose1d
from .layers.seanet import SEANetConfig, SEANetDecoder, SEANetEncoder
from .layers.seanet_names import decoder_names, encoder_names
from .layers.transformer import Transformer, TransformerConfig, half_split
from .spec import CodecSpec, StreamSpec
from .streaming import StreamDecoder, StreamEncoder

PIECE_FRAMES = 64  # frames worked on at once, whole file or long push
LEAST_USAGE = 1e-5  # below which the official code takes a codebook's count as this
SEANET = SEANetConfig(
    dimension=512, filters=64, ratios=(8, 6, 5, 4), last_kernel=3, pad_mode="constant", true_skip=True, lstm=0
)  # fmt: skip


@dataclass(frozen=True)
class MimiConfig:
    """Everything that shapes the codec.

    Attributes:
        sample_rate: Hz.
        seanet: encoder and decoder.
        transformer: the one after the encoder and the one before the decoder.
        stride: of the convolution between SEANet's frames and the codes'.
        codebooks, codebook_size, code_width: of the quantizer; the first `semantic` codebooks are semantic.
        licence: of the weights.
    """

    sample_rate: int = 24000
    seanet: SEANetConfig = field(default_factory=lambda: SEANET)
    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    stride: int = 2
    codebooks: int = 32
    codebook_size: int = 2048
    code_width: int = 256
    semantic: int = 1
    licence: str = ""

    @property
    def hop(self) -> int:
        """Samples per frame of codes."""
        return self.seanet.hop * self.stride


class State(NamedTuple):
    """What one direction of a stream remembers."""

    seanet: list[Tensor]
    transformer: list[Tensor]
    resample: Tensor


class MimiCodec(Codec):
    """Audio to a semantic code and residual acoustic codes, and back, each frame as soon as it is there."""

    Config = MimiConfig
    family = "mimi"
    pads_exactly = True  # nothing looks ahead, and audio is filled up with zeros to whole frames
    config: MimiConfig

    def __init__(self, config: MimiConfig, name: str = "") -> None:
        super().__init__(config, name)
        width, stride = config.seanet.dimension, config.stride
        self.encoder = SEANetEncoder(config.seanet)
        self.encoder_transformer = Transformer(config.transformer)
        self.down = Conv1d(width, width, 2 * stride, stride, bias=False, causal=True, pad_mode="replicate")
        self.quantizer = SplitResidualVQ(width, config.codebook_size, config.codebooks, config.semantic, config.code_width)
        # one channel at a time, which the official code calls a bug that the weights have grown up with
        self.up = ConvTranspose1d(width, width, 2 * stride, stride, groups=width, bias=False, causal=True)
        self.decoder_transformer = Transformer(config.transformer)
        self.decoder = SEANetDecoder(config.seanet)

    @property
    def spec(self) -> CodecSpec:
        config = self.config
        roles = ("semantic",) * config.semantic + ("acoustic",) * (config.codebooks - config.semantic)
        stream = StreamSpec(config.hop, (config.codebook_size,) * config.codebooks, roles)
        return CodecSpec(config.sample_rate, config.seanet.channels, (stream,), causal=True, licence=config.licence)

    # -- whole audio --------------------------------------------------------------------------------------------

    def _encode(self, waveform: Tensor, codebooks: int) -> Encoded:
        state = self.encoder_state(waveform.shape[0])
        return (self.encode_step(pad(waveform, (0, -waveform.shape[-1] % self.config.hop)), state, codebooks)[0],), {}

    def _decode(self, streams: tuple[Tensor, ...], side: dict[str, Tensor], n_samples: int) -> Tensor:
        return self.decode_step(streams[0], self.decoder_state(streams[0].shape[0]))[0]

    # -- piece by piece -----------------------------------------------------------------------------------------

    def encoder_state(self, batch: int) -> State:
        """Return the encoder's state before the first sample."""
        transformer = self.encoder_transformer.initial_state(batch)
        return State(self.encoder.initial_state(batch), transformer, self.down.initial_state(batch))

    def decoder_state(self, batch: int) -> State:
        """Return the decoder's state before the first frame."""
        transformer = self.decoder_transformer.initial_state(batch)
        return State(self.decoder.initial_state(batch), transformer, self.up.initial_state(batch))

    def encode_step(self, waveform: Tensor, state: State, codebooks: int) -> tuple[Tensor, State]:
        """Return the codes [batch, codebooks, frames] of the next samples, whole frames of them, and the new state."""
        codes = [torch.zeros(waveform.shape[0], codebooks, 0, dtype=torch.int64, device=waveform.device)]
        for piece in waveform.split(PIECE_FRAMES * self.config.hop, dim=-1) if waveform.shape[-1] else ():
            latents, state = self.latents_step(piece, state)
            codes.append(self.quantizer.encode(latents, codebooks))
        return torch.cat(codes, dim=-1), state

    def latents_step(self, waveform: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the latents [batch, dimension, frames] before the quantizer, and the new state."""
        x, seanet = self.encoder.step(waveform, state.seanet)
        x, transformer = self.encoder_transformer.step(x.transpose(1, 2), state.transformer)
        x, resample = self.down.step(x.transpose(1, 2), state.resample)
        return x, State(seanet, transformer, resample)

    def decode_step(self, codes: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the audio of the next frames of codes [batch, codebooks, frames], and the new state."""
        pieces = [torch.zeros(codes.shape[0], self.spec.channels, 0, device=codes.device, dtype=self.dtype)]
        for piece in codes.split(PIECE_FRAMES, dim=-1) if codes.shape[-1] else ():
            x, resample = self.up.step(self.quantizer.decode(piece), state.resample)
            x, transformer = self.decoder_transformer.step(x.transpose(1, 2), state.transformer)
            x, seanet = self.decoder.step(x.transpose(1, 2), state.seanet)
            pieces.append(x)
            state = State(seanet, transformer, resample)
        return torch.cat(pieces, dim=-1), state

    def stream_encoder(self, batch: int = 1, codebooks: int | None = None, chunk_seconds: float | None = None) -> StreamEncoder:
        """Return an encoder that gives out each frame with its last sample."""
        return MimiStreamEncoder(self, batch, codebooks, chunk_seconds)

    def stream_decoder(self, batch: int = 1, chunk_seconds: float | None = None) -> StreamDecoder:
        """Return a decoder that sounds each frame at once."""
        return MimiStreamDecoder(self, batch, chunk_seconds)


class MimiStreamEncoder(StreamEncoder):
    """Holds back samples until a frame is whole; the last frame is filled up with zeros."""

    codec: MimiCodec

    @property
    def latency(self) -> int:
        return self.codec.config.hop

    def _reset(self) -> None:
        self.state = self.codec.encoder_state(self.batch)
        self.waiting = torch.zeros(self.batch, self.codec.spec.channels, 0, device=self.codec.device, dtype=self.codec.dtype)

    def _push(self, waveform: Tensor) -> Encoded:
        waiting = torch.cat([self.waiting, waveform], dim=-1)
        ready = waiting.shape[-1] // self.codec.config.hop * self.codec.config.hop
        self.waiting = waiting[..., ready:].clone()
        codes, self.state = self.codec.encode_step(waiting[..., :ready], self.state, self.codebooks)
        return (codes,), {}

    def _flush(self) -> Encoded:
        missing = -self.waiting.shape[-1] % self.codec.config.hop
        return self._push(self.waiting.new_zeros(self.batch, self.codec.spec.channels, missing))


class MimiStreamDecoder(StreamDecoder):
    """Sounds what is pushed; nothing waits."""

    codec: MimiCodec

    @property
    def latency(self) -> int:
        return self.codec.config.hop

    def _reset(self) -> None:
        self.state = self.codec.decoder_state(self.batch)

    def _push(self, streams: tuple[Tensor, ...], side: dict[str, Tensor]) -> Tensor:
        audio, self.state = self.codec.decode_step(streams[0], self.state)
        return audio

    def _flush(self) -> Tensor:
        return torch.zeros(self.batch, self.codec.spec.channels, 0, device=self.codec.device, dtype=self.codec.dtype)


# -- official weights -------------------------------------------------------------------------------------------


def convert_mimi(weights: Mapping[str, Tensor], name: str = "mimi") -> MimiCodec:
    """Return the codec with official weights, named as in the published file, as in moshi's module, or as in transformers.

    Raises:
        CheckpointError: if keys are missing, unexpected or of another shape.
    """
    config = CONFIGS[name]
    codec = MimiCodec(config, name)
    load_official(codec, official_names_to_file(weights, config), [_names(config)], f"the checkpoint of {name}")
    return codec.eval()


def official_names_to_file(weights: Mapping[str, Tensor], config: MimiConfig) -> dict[str, Tensor]:
    """Return the weights under the published file's names, with rotations of halves and codebooks divided out."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        for pattern, replacement in RENAMES:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    heads, width = config.transformer.heads, config.transformer.width
    for name in [name for name in renamed if name.endswith("in_proj_weight")]:
        if renamed[name].shape[0] == 3 * width:
            q, k, v = renamed[name].split(width)
            renamed[name] = torch.cat([half_split(q, heads), half_split(k, heads), v])
    for stem in [name.removesuffix(".q_proj.weight") for name in renamed if name.endswith(".q_proj.weight")]:
        parts = [f"{stem}.{part}_proj.weight" for part in "qkv"]
        if all(part in renamed for part in parts):
            renamed[f"{stem}.in_proj_weight"] = torch.cat([renamed.pop(part) for part in parts])
    for stem in [name.removesuffix(".embedding_sum") for name in renamed if name.endswith(".embedding_sum")]:
        if (usage := renamed.pop(f"{stem}.cluster_usage", None)) is not None:
            total = renamed.pop(f"{stem}.embedding_sum").float()
            renamed[f"{stem}.embedding"] = total / usage.float().clamp(min=LEAST_USAGE)[:, None]
    return {name: tensor for name, tensor in renamed.items() if not name.endswith("._initialized")}


def _names(config: MimiConfig) -> dict[str, str | tuple[str, ...]]:
    names: dict[str, str | tuple[str, ...]] = {"down.weight": "downsample.conv.conv.conv.weight"}
    names["up.weight"] = "upsample.convtr.convtr.convtr.weight"
    for side, table in (("encoder", encoder_names(config.seanet)), ("decoder", decoder_names(config.seanet))):
        names |= {f"{side}.{ours}": f"{side}.{theirs}" for ours, theirs in table.items()}
        for layer in range(config.transformer.layers):
            stem = f"{side}_transformer.transformer.layers.{layer}"
            names |= {f"{side}_transformer.layers.{layer}.{ours}": f"{stem}.{theirs}" for ours, theirs in LAYER.items()}
    for ours, theirs, depth in (
        ("semantic", "first", config.semantic),
        ("acoustic", "rest", config.codebooks - config.semantic),
    ):
        names[f"quantizer.{ours}.enter.weight"] = f"quantizer.rvq_{theirs}.input_proj.weight"
        names[f"quantizer.{ours}.leave.weight"] = f"quantizer.rvq_{theirs}.output_proj.weight"
        codebooks = tuple(f"quantizer.rvq_{theirs}.vq.layers.{n}._codebook.embedding" for n in range(depth))
        names[f"quantizer.{ours}.quantizer.codebooks"] = codebooks
    return names


LAYER = {
    "norm1.weight": "norm1.weight", "norm1.bias": "norm1.bias", "norm2.weight": "norm2.weight", "norm2.bias": "norm2.bias",
    "qkv.weight": "self_attn.in_proj_weight", "out.weight": "self_attn.out_proj.weight", "scale1": "layer_scale_1.scale",
    "widen.weight": "linear1.weight", "narrow.weight": "linear2.weight", "scale2": "layer_scale_2.scale",
}  # fmt: skip
RENAMES = (  # applied in order: older names of codebooks, moshi's module, transformers' module, transformers' file
    (r"_codebook\.inited$", "_codebook._initialized"),
    (r"_codebook\.cluster_size$", "_codebook.cluster_usage"),
    (r"_codebook\.embed_(avg|sum)$", "_codebook.embedding_sum"),
    (r"self_attn\.in_projs\.0\.weight$", "self_attn.in_proj_weight"),
    (r"self_attn\.out_projs\.0\.weight$", "self_attn.out_proj.weight"),
    (r"^(en|de)coder\.(en|de)coder_seanet\.layers\.", r"\1coder.layers."),
    (r"^(en|de)coder\.((en|de)coder_transformer|upsample|downsample)\.", r"\2."),
    (r"^((en|de)coder_transformer)\.layers\.", r"\1.transformer.layers."),
    (r"^decoder\.layers\.(2|5|8|11)\.conv\.", r"decoder.model.\1.convtr.convtr."),
    (r"^((en|de)coder)\.layers\.(.*)\.conv\.(weight|bias)$", r"\1.model.\3.conv.conv.\4"),
    (r"^downsample\.conv\.weight$", "downsample.conv.conv.conv.weight"),
    (r"^upsample\.conv\.weight$", "upsample.convtr.convtr.convtr.weight"),
    (r"^quantizer\.semantic_residual_vector_quantizer\.", "quantizer.rvq_first."),
    (r"^quantizer\.acoustic_residual_vector_quantizer\.", "quantizer.rvq_rest."),
    (r"^(quantizer\.rvq_\w+)\.layers\.(\d+)\.codebook\.", r"\1.vq.layers.\2._codebook."),
    (r"_codebook\.embed_sum$", "_codebook.embedding_sum"),
    (r"_codebook\.initialized$", "_codebook._initialized"),
    (r"\.input_layernorm\.", ".norm1."),
    (r"\.post_attention_layernorm\.", ".norm2."),
    (r"\.self_attn_layer_scale\.", ".layer_scale_1."),
    (r"\.mlp_layer_scale\.", ".layer_scale_2."),
    (r"\.mlp\.fc([12])\.", r".linear\1."),
    (r"\.self_attn\.o_proj\.", ".self_attn.out_proj."),
)
CONFIGS = {"mimi": MimiConfig(licence="CC-BY-4.0")}
OFFICIAL: dict[str, Callable[[Mapping[str, Tensor]], MimiCodec]] = {"mimi": convert_mimi}
