"""X-Codec: 16 kHz speech or general audio, 50 frames a second, acoustic and semantic features under one residual quantizer.

    encoder: DAC blocks and a frozen HuBERT or WavLM with convolutions after it, joined, mixed, quantized
    decoder: codes, mixed, DAC blocks; beside them the semantic features that the codes were taught to keep

Source: Ye et al., "Codec Does Matter: Exploring the Semantic Shortcoming of Codec for Audio Language Model", 2024, and its
published code and checkpoints.
"""

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import elu, pad

from ..quantizers.residual import ResidualVQ
from .base import Codec, Encoded
from .checkpoint import load_official
from .chunk_seconds import seconds_or
from .chunking import CHUNK_SECONDS, ChunkedDecoder, Plan, WindowEncoder, awaited
from .dac import TRANSFORMERS
from .layers.dac_blocks import DacBlocksConfig, Decoder, Encoder, decoder_names, encoder_names, renamed
from .long_audio import decode_long
from .spec import CodecSpec, StreamSpec
from .teachers import Teacher, TeacherConfig, teacher_weights

SHAPE = DacBlocksConfig(64, (8, 5, 4, 2), 256, 1024, up_strides=(8, 5, 4, 2), tanh=False)
WAVLM = TeacherConfig("wavlm")


@dataclass(frozen=True)
class XCodecConfig:
    """Everything that shapes the codec.

    Attributes:
        sample_rate: Hz.
        blocks: acoustic encoder and decoder.
        teacher: the semantic model, whose weights are among the codec's own.
        depth: blocks of the semantic encoder and decoder.
        codebooks, codebook_size: of the residual quantizer.
        moves_acoustic: where the semantic model finds a frame more than the acoustic encoder, the latter hears the audio again
            with half a frame of zeros on either side, as published, which moves its frames by 10 ms. Without, and in audio
            that is longer than a chunk, the end is filled up instead.
        chunk, window: seconds of long audio that are worked on at once, and samples that they see on either side, since the
            semantic model would see all of it.
        licence: of the weights.
    """

    sample_rate: int = 16000
    blocks: DacBlocksConfig = field(default_factory=lambda: SHAPE)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    depth: int = 2
    codebooks: int = 8
    codebook_size: int = 1024
    moves_acoustic: bool = True
    chunk: float = 5.0
    window: int = 24000
    licence: str = ""


class XCodec(Codec):
    """Audio to residual codes of acoustic and semantic features, and back.

    The published inference script multiplies audio by 0.95 before its codec hears it; here, as in transformers, nothing does.
    """

    Config = XCodecConfig
    family = "xcodec"
    chunked = True
    large = True
    config: XCodecConfig

    def __init__(self, config: XCodecConfig, name: str = "") -> None:
        super().__init__(config, name)
        self.teacher = Teacher.from_config(config.teacher)
        acoustic, semantic = config.blocks.latent, self.teacher.dimension
        width = acoustic + semantic
        self.encoder = Encoder(config.blocks)
        self.semantic_encoder = SemanticEncoder(semantic, config.depth)
        self.enter = nn.Linear(width, width)
        self.quantizer = ResidualVQ(width, config.codebook_size, config.codebooks)
        self.leave = nn.Linear(width, acoustic)
        self.decoder = Decoder(config.blocks)
        self.leave_semantic = nn.Linear(width, semantic)
        self.semantic_decoder = SemanticDecoder(semantic, config.depth)

    @classmethod
    def unloaded(cls, config: XCodecConfig, name: str) -> Self:
        """Return a codec whose weights take no memory until they are loaded."""
        with torch.device("meta"):
            codec = cls(config, name)
        codec.quantizer = ResidualVQ(codec.enter.out_features, config.codebook_size, config.codebooks)
        return codec

    @property
    def spec(self) -> CodecSpec:
        config = self.config
        roles = ("semantic",) + ("acoustic",) * (config.codebooks - 1)
        stream = StreamSpec(config.blocks.hop, (config.codebook_size,) * config.codebooks, roles)
        ahead = awaited(stream.hop, config.sample_rate, config.window, config.chunk) + (config.blocks.reach or 0)
        return CodecSpec(config.sample_rate, 1, (stream,), causal=False, lookahead=ahead, licence=config.licence)

    def n_frames(self, n_samples: int) -> tuple[int, ...]:
        """Return the semantic model's frames: less than 80 samples at the end give none."""
        return (self.teacher.n_frames(n_samples),)

    @property
    def window(self) -> str:
        """The chunks that audio in memory goes in, as that of a stream does."""
        return str(Plan(self, self.config.window, self.config.chunk))

    # -- encode and decode --------------------------------------------------------------------------------------

    def _encode(self, waveform: Tensor, codebooks: int) -> Encoded:
        return self.stream_encoder(waveform.shape[0], codebooks).encode(waveform)

    def encode_piece(self, waveform: Tensor, codebooks: int, alone: bool) -> tuple[Tensor, ...]:
        """Return the codes of a waveform that is worked on at once, `alone` where it is all of the audio."""
        frames = self.n_frames(waveform.shape[-1])[0]
        if not frames:
            return self._empty(waveform.shape[0], codebooks)[0]
        if not (alone and self.config.moves_acoustic):
            waveform = pad(waveform, (0, frames * self.spec.hop - waveform.shape[-1]))
        return (self.quantizer.encode(self.latents(waveform), codebooks),)

    def latents(self, waveform: Tensor) -> Tensor:
        """Return what the quantizer gets [batch, channels, frames]."""
        semantic = self.semantic_encoder(self.teacher(waveform[:, 0]).transpose(1, 2))
        half = self.spec.hop // 2 if self._acoustic_frames(waveform.shape[-1]) != semantic.shape[-1] else 0
        joined = torch.cat([self.encoder(pad(waveform, (half, half))), semantic], dim=1)
        return self.enter(joined.transpose(1, 2)).transpose(1, 2)

    def _acoustic_frames(self, n_samples: int) -> int:
        for stride in self.config.blocks.strides:
            n_samples = (n_samples + 2 * -(-stride // 2)) // stride - 1
        return n_samples

    def _decode(self, streams: tuple[Tensor, ...], side: dict[str, Tensor], n_samples: int) -> Tensor:
        return decode_long(self, streams, self._decode_piece, self.config.blocks.reach)

    def _decode_piece(self, streams: tuple[Tensor, ...]) -> Tensor:
        latents = self.quantizer.decode(streams[0]).transpose(1, 2)
        return self.decoder(self.leave(latents).transpose(1, 2))

    @torch.inference_mode()
    def semantic_features(self, codes: Tensor) -> Tensor:
        """Return what codes [batch, codebooks, frames] keep of the semantic model's features, [batch, dimension, frames].

        Raises:
            ShapeError: if the codes are not this codec's.
        """
        (codes,) = self.check_streams((codes,))
        return self.semantic_decoder(self.leave_semantic(self.quantizer.decode(codes).transpose(1, 2)).transpose(1, 2))

    def stream_encoder(
        self, batch: int = 1, codebooks: int | None = None, chunk_seconds: float | None = None
    ) -> "WindowEncoder":
        """Return an encoder of long audio in chunks that see `config.window` samples on either side, not all of it."""
        return WindowEncoder(self, batch, codebooks, self.config.window, seconds_or(chunk_seconds, self.config.chunk))

    def stream_decoder(self, batch: int = 1, chunk_seconds: float | None = None) -> ChunkedDecoder:
        """Return a decoder of frames in pieces: exact chunks, each waiting for the decoder's receptive field after it."""
        return ChunkedDecoder(self, batch, self.config.blocks.reach, seconds_or(chunk_seconds, CHUNK_SECONDS))


class Unit(nn.Module):
    """x plus two convolutions of it, an ELU before each."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(width, width, 3, padding=1, bias=False)
        self.conv2 = nn.Conv1d(width, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output for x [batch, width, frames]."""
        return x + self.conv2(elu(self.conv1(elu(x))))


class SemanticEncoder(nn.Module):
    """Features of the semantic model [batch, width, frames] to what is joined with the acoustic ones."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(width, width, 3, padding=1, bias=False)
        self.blocks = nn.ModuleList(
            nn.Sequential(Unit(width), Unit(width), nn.Conv1d(width, width, 3, padding=1)) for _ in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the output for x [batch, width, frames]."""
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return x


class SemanticDecoder(nn.Module):
    """What the codes keep [batch, width, frames] to features of the semantic model."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(width, width, 3, padding=1, bias=False)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv1d(width, width, 3, padding=1), Unit(width), Unit(width)) for _ in range(depth)
        )
        self.last = nn.Conv1d(width, width, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output for x [batch, width, frames]."""
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return self.last(x)


# -- official weights -------------------------------------------------------------------------------------------


def convert_xcodec(weights: Mapping[str, Tensor], name: str) -> XCodec:
    """Return the codec `name` with official weights, named as in the published checkpoint or as in transformers.

    Raises:
        CheckpointError: if keys are missing, unexpected or of another shape.
        MissingDependencyError: if transformers is not installed.
    """
    codec = XCodec(CONFIGS[name], name)
    load(codec, weights, f"the checkpoint of {name}")
    return codec.eval()


def load(codec: XCodec, weights: Mapping[str, Tensor], source: str) -> None:
    """Load official tensors, called `source` in an error: see `convert_xcodec`."""
    others = {name: tensor for name, tensor in weights.items() if not name.startswith(TEACHER)}
    teacher = {TEACHER + name: tensor for name, tensor in teacher_weights(weights, TEACHER).items()}
    tables = (published_names(codec), transformers_names(codec))
    load_official(codec, others | teacher, tables, source, r"codebook\.(inited|cluster_size|embed_avg)$")


def published_names(codec: XCodec) -> dict[str, str | tuple[str, ...]]:
    """Return our names of tensors -> those of the published checkpoint."""
    blocks = codec.config.blocks
    names = _shared_names(codec, PUBLISHED, "quantizer.vq.layers.{}._codebook.embed")
    names |= {f"encoder.{k}": v for k, v in renamed(codec.encoder, encoder_names(blocks, "encoder.block")).items()}
    return names | {f"decoder.{k}": v for k, v in renamed(codec.decoder, decoder_names(blocks, "decoder_2.model")).items()}


def transformers_names(codec: XCodec) -> dict[str, str | tuple[str, ...]]:
    """Return our names of tensors -> those of transformers' XcodecModel."""
    names = _shared_names(codec, HUGGING_FACE, "quantizer.quantizers.{}.codebook.embed")
    for part in ("encoder", "decoder"):
        for ours in (f"{part}.{key}" for key in getattr(codec, part).state_dict()):
            names[ours] = "acoustic_" + replaced(ours, TRANSFORMERS)
    return names


def _shared_names(codec: XCodec, patterns: tuple[tuple[str, str], ...], codebook: str) -> dict[str, str | tuple[str, ...]]:
    others = [name for name in codec.state_dict() if not name.startswith(("encoder.", "decoder.", "quantizer."))]
    names: dict[str, str | tuple[str, ...]] = {ours: replaced(ours, patterns) for ours in others}
    names["quantizer.codebooks"] = tuple(codebook.format(n) for n in range(codec.config.codebooks))
    return names


def replaced(name: str, patterns: tuple) -> str:
    """Return a name with each (pattern, replacement) applied in turn."""
    for ours, theirs in patterns:
        name = re.sub(ours, theirs, name)
    return name


TEACHER = "semantic_model."
SEMANTIC = (  # patterns of our names, in order
    (r"^teacher\.model\.", TEACHER),
    (r"^semantic_(en|de)coder\.", r"\1coder_semantic."),
    (r"^(encoder_semantic\.blocks\.\d+)\.([01])\.", r"\1.res_units.\2."),
    (r"^(encoder_semantic\.blocks\.\d+)\.2\.", r"\1.conv."),
    (r"^(decoder_semantic\.blocks\.\d+)\.0\.", r"\1.conv."),
    (r"^(decoder_semantic\.blocks\.\d+)\.1\.", r"\1.res_units.0."),
    (r"^(decoder_semantic\.blocks\.\d+)\.2\.", r"\1.res_units.1."),
    (r"^(..coder_semantic)\.blocks\.", r"\1.conv_blocks."),
    (r"^encoder_semantic\.first\.", "encoder_semantic.conv."),
    (r"^decoder_semantic\.first\.", "decoder_semantic.conv1."),
    (r"^decoder_semantic\.last\.", "decoder_semantic.conv2."),
)
HUGGING_FACE = (*SEMANTIC, (r"^enter\.", "fc."), (r"^leave_semantic\.", "fc1."), (r"^leave\.", "fc2."))
PUBLISHED = (
    *SEMANTIC,
    (r"^enter\.", "fc_prior."), (r"^leave_semantic\.", "fc_post1."), (r"^leave\.", "fc_post2."),
    # published convolutions of more than one tap are wrapped
    (r"^(..coder_semantic\..*(?:conv|conv1|conv_blocks\.\d+\.conv))\.(weight|bias)$", r"\1.conv.\2"),
    (r"^(decoder_semantic\.conv2)\.weight$", r"\1.conv.weight"),
)  # fmt: skip
HUBERTS = ("xcodec_hubert_librispeech", "xcodec_hubert_general", "xcodec_hubert_general_balanced")
WAVLMS = ("xcodec_wavlm_mls", "xcodec_wavlm_more_data")
CONFIGS: dict[str, XCodecConfig] = {name: XCodecConfig() for name in HUBERTS} | {
    name: XCodecConfig(teacher=WAVLM) for name in WAVLMS
}
OFFICIAL: dict[str, Callable[[Mapping[str, Tensor]], XCodec]] = {
    name: functools.partial(convert_xcodec, name=name) for name in CONFIGS
}
