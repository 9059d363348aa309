"""X-Codec-2: 16 kHz speech, 50 frames a second, one code of 65,536 each, from acoustic and semantic features together.

    encoder: BigCodec's, and the 16th layer of w2v-BERT 2.0 with convolutions after it, joined, mixed, quantized by FSQ
    decoder: mixed, Vocos with a transformer between its residual blocks

Source: Ye et al., "Llasa: Scaling Train-Time and Inference-Time Compute for Llama-based Speech Synthesis", 2025, section 2.1,
and its published code and checkpoints.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, relu

from ..quantizers.scalar import FSQ
from .base import Codec, Encoded
from .checkpoint import load_official
from .chunk_seconds import seconds_or
from .chunking import Plan, WindowDecoder, WindowEncoder, awaited
from .dac import TRANSFORMERS
from .layers.dac_blocks import DacBlocksConfig, Encoder, encoder_names, renamed
from .layers.transformer import Transformer, TransformerConfig
from .layers.vocos import FourierHead, GroupResidual
from .layers.xcodec2_names import HUGGING_FACE, PUBLISHED, TEACHERS, UNUSED
from .spec import CodecSpec, StreamSpec
from .teachers import Teacher, TeacherConfig, load_teacher, teacher_weights
from .xcodec import replaced

LAYER = 16  # of w2v-BERT, whose output is the semantic feature
SHAPE = DacBlocksConfig(48, (2, 2, 4, 4, 5), 1024, activation="alias_free_snake_beta")
ATTENTION = TransformerConfig(1024, 16, 12, 4096, scale=None, norm="rms", activation="silu", causal=False, positions="none")
TEACHER = TeacherConfig("wav2vec2-bert", -1, (("num_hidden_layers", LAYER),))


@dataclass(frozen=True)
class XCodec2Config:
    """Everything that shapes the codec.

    Attributes:
        sample_rate: Hz.
        blocks: acoustic encoder.
        semantic: width of the teacher's features.
        teacher: the semantic model where its weights are among the codec's own, None where they are not.
        teacher_name: what is loaded at the first `encode` where they are not, by `load_teacher`.
        levels: of the quantizer.
        double_bound: the quantizer bounds its input twice, as the published code does.
        relu_residual: what the semantic encoder adds to its convolutions' output is their rectified input, since the published
            code rectifies it in place.
        transformer: of the decoder. The published code rotates queries and keys by the number of their head, which changes
            nothing; `positions="head"` does the same.
        groups: of the norms around the transformer.
        spectrum: samples of the inverse Fourier transform.
        always_pads: audio that fills its frames gets one more of zeros, as the published code has it.
        chunk, window: seconds of long audio that are worked on at once, and samples that they see on either side, since the
            teacher and the decoder would see all of it.
        licence: of the weights.
    """

    sample_rate: int = 16000
    blocks: DacBlocksConfig = field(default_factory=lambda: SHAPE)
    semantic: int = 1024
    teacher: TeacherConfig | None = None
    teacher_name: str = "w2v-bert"
    levels: tuple[int, ...] = (4,) * 8
    double_bound: bool = True
    relu_residual: bool = True
    transformer: TransformerConfig = field(default_factory=lambda: ATTENTION)
    groups: int = 32
    spectrum: int = 1280
    always_pads: bool = True
    chunk: float = 10.0
    window: int = 32000
    licence: str = ""


class XCodec2(Codec):
    """Audio to one code per frame, and back through spectra."""

    Config = XCodec2Config
    family = "xcodec2"
    chunked = True
    large = True
    config: XCodec2Config

    def __init__(self, config: XCodec2Config, name: str = "") -> None:
        super().__init__(config, name)
        width, joined = config.transformer.width, config.blocks.latent + config.semantic
        self.teacher = None if config.teacher is None else Teacher.from_config(config.teacher)
        self.encoder = Encoder(config.blocks)
        self.semantic_encoder = SemanticEncoder(config.semantic, config.relu_residual)
        self.enter = nn.Linear(joined, joined)
        self.quantizer = FSQ(config.levels, joined, double_bound=config.double_bound)
        self.leave = nn.Linear(joined, width)
        self.backbone = Backbone(config.transformer, config.groups)
        self.head = FourierHead(width, config.spectrum, config.blocks.hop)

    @classmethod
    def unloaded(cls, config: XCodec2Config, name: str) -> Self:
        """Return a codec whose weights take no memory until they are loaded."""
        codec = super().unloaded(replace(config, teacher=None), name)
        if config.teacher is not None:
            with torch.device("meta"):
                codec.teacher = Teacher.from_config(config.teacher)
        codec.config = config
        return codec

    @property
    def spec(self) -> CodecSpec:
        config = self.config
        stream = StreamSpec(config.blocks.hop, self.quantizer.sizes, ("semantic",))
        ahead = 2 * awaited(stream.hop, config.sample_rate, config.window, config.chunk)
        return CodecSpec(config.sample_rate, 1, (stream,), causal=False, lookahead=ahead, licence=config.licence)

    @property
    def window(self) -> str:
        """The chunks that audio in memory goes in, as that of a stream does."""
        return str(Plan(self, self.config.window, self.config.chunk))

    def n_frames(self, n_samples: int) -> tuple[int, ...]:
        """Return the frames for audio of `n_samples`, the one that is always added included."""
        hop = self.spec.hop
        return (n_samples // hop + 1 if n_samples and self.config.always_pads else -(-n_samples // hop),)

    # -- the semantic model -------------------------------------------------------------------------------------

    def use_teacher(self, teacher: Teacher) -> None:
        """Take this semantic model, whose features must be those of the 16th layer; it is not saved with the codec."""
        self.__dict__["_borrowed"] = teacher

    def features(self, waveform: Tensor) -> Tensor:
        """Return what the semantic model says [batch, frames, width] of audio [batch, 1, whole frames of samples]."""
        if self.teacher is None and "_borrowed" not in self.__dict__:
            self.use_teacher(load_teacher(self.config.teacher_name, LAYER))
        teacher = self.teacher if self.teacher is not None else self.__dict__["_borrowed"].to(self.device, self.dtype)
        return teacher(waveform[:, 0], self.config.sample_rate)

    # -- encode and decode --------------------------------------------------------------------------------------

    def _encode(self, waveform: Tensor, codebooks: int) -> Encoded:
        return self.stream_encoder(waveform.shape[0], codebooks).encode(waveform)

    def encode_piece(self, waveform: Tensor, codebooks: int, alone: bool) -> tuple[Tensor, ...]:
        """Return the codes of a waveform that is worked on at once."""
        samples = waveform.shape[-1]
        waveform = pad(waveform, (0, self.n_frames(samples)[0] * self.spec.hop - samples))
        return (self.quantizer.encode(self.latents(waveform, self.features(waveform))),)

    def latents(self, waveform: Tensor, features: Tensor) -> Tensor:
        """Return what the quantizer gets [batch, channels, frames], of whole frames of audio and the features of each."""
        joined = torch.cat([self.semantic_encoder(features.transpose(1, 2)), self.encoder(waveform)], dim=1)
        return self.enter(joined.transpose(1, 2)).transpose(1, 2)

    def _decode(self, streams: tuple[Tensor, ...], side: dict[str, Tensor], n_samples: int) -> Tensor:
        return self.stream_decoder(streams[0].shape[0]).decode(streams)

    def decode_piece(self, streams: tuple[Tensor, ...]) -> Tensor:
        """Return the audio [batch, 1, samples] of codes that are worked on at once."""
        return self.head(self.backbone(self.leave(self.quantizer.decode(streams[0]).transpose(1, 2))))

    def stream_encoder(self, batch: int = 1, codebooks: int | None = None, chunk_seconds: float | None = None) -> WindowEncoder:
        """Return an encoder of long audio in chunks that see `config.window` samples on either side, not all of it."""
        return WindowEncoder(self, batch, codebooks, self.config.window, seconds_or(chunk_seconds, self.config.chunk))

    def stream_decoder(self, batch: int = 1, chunk_seconds: float | None = None) -> WindowDecoder:
        """Return a decoder of long audio in chunks that see `config.window` samples on either side, not all of it."""
        return WindowDecoder(self, batch, self.config.window, seconds_or(chunk_seconds, self.config.chunk))


class SemanticEncoder(nn.Module):
    """Features of the semantic model [batch, width, frames] to what is joined with the acoustic ones."""

    def __init__(self, width: int, relu_residual: bool) -> None:
        super().__init__()
        self.relu_residual = relu_residual
        self.first = nn.Conv1d(width, width, 3, padding=1, bias=False)
        self.conv1 = nn.Conv1d(width, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, padding=1)
        self.last = nn.Conv1d(width, width, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output for x [batch, width, frames]."""
        x = self.first(x)
        active = relu(x)
        return self.last((active if self.relu_residual else x) + self.conv2(relu(self.conv1(active))))


class Backbone(nn.Module):
    """Mixed latents [batch, frames, width] to what the head takes [batch, frames, width]."""

    def __init__(self, config: TransformerConfig, groups: int) -> None:
        super().__init__()
        width = config.width
        self.enter = nn.Conv1d(width, width, 7, padding=3)
        self.before = nn.Sequential(GroupResidual(width, groups), GroupResidual(width, groups))
        self.transformer = Transformer(config)
        self.after = nn.Sequential(GroupResidual(width, groups), GroupResidual(width, groups))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of all frames."""
        x = self.before(self.enter(x.transpose(1, 2)))
        return self.norm(self.after(self.transformer(x.transpose(1, 2)).transpose(1, 2)).transpose(1, 2))


# -- official weights -------------------------------------------------------------------------------------------


def convert_xcodec2(weights: Mapping[str, Tensor], config: XCodec2Config | None = None) -> XCodec2:
    """Return the codec with official weights, named as in the published checkpoint or as in transformers.

    What only training needs is left out. The semantic model becomes part of the codec where its weights are there.

    Raises:
        CheckpointError: if keys are missing, unexpected or of another shape.
    """
    config = config or CONFIGS["xcodec2"]
    weights, teacher = prepared(weights)
    if teacher and config.teacher is None:
        config = replace(config, teacher=TEACHER)
    codec = XCodec2(config, "xcodec2")
    tables = (published_names(codec), transformers_names(codec))
    load_official(codec, weights | teacher, tables, "the checkpoint of xcodec2", UNUSED)
    return codec.eval()


def prepared(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the codec's weights, with queries, keys and values in one matrix, and the semantic model's, under one name."""
    others = {name: tensor for name, tensor in weights.items() if not name.startswith(TEACHERS)}
    for stem in [name.removesuffix("q_proj.weight") for name in others if name.endswith("self_attn.q_proj.weight")]:
        others[f"{stem}qkv.weight"] = torch.cat([others.pop(f"{stem}{part}_proj.weight") for part in "qkv"])
    own = {k: v for prefix in TEACHERS for k, v in teacher_weights(weights, prefix).items()}
    kept = {k: v for k, v in own.items() if int(([*re.findall(r"^encoder\.layers\.(\d+)\.", k), "0"])[0]) < LAYER}
    return others, {f"{TEACHERS[0]}{k}": v for k, v in kept.items()}


def published_names(codec: XCodec2) -> dict[str, str]:
    """Return our names of tensors -> those of the published checkpoint."""
    modules = encoder_names(codec.config.blocks, "CodecEnc.conv_blocks")
    modules |= {"activation": "CodecEnc.conv_final_block.0", "last": "CodecEnc.conv_final_block.1"}
    names = {f"encoder.{ours}": _active(theirs) for ours, theirs in renamed(codec.encoder, modules).items()}
    return _others(codec, PUBLISHED) | names


def transformers_names(codec: XCodec2) -> dict[str, str]:
    """Return our names of tensors -> those of transformers' Xcodec2Model."""
    own = [f"encoder.{name}" for name in codec.encoder.state_dict()]
    return _others(codec, HUGGING_FACE) | {ours: _active("acoustic_" + replaced(ours, TRANSFORMERS)) for ours in own}


def _others(codec: XCodec2, patterns: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return {name: replaced(name, patterns) for name in codec.state_dict() if not name.startswith("encoder.")}


def _active(name: str) -> str:
    return re.sub(r"\.(alpha|beta)$", r".act.\1", name)


CONFIGS = {"xcodec2": XCodec2Config(licence="CC-BY-NC-4.0")}
OFFICIAL: dict[str, Callable[[Mapping[str, Tensor]], XCodec2]] = {"xcodec2": convert_xcodec2}
