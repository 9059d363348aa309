"""The networks of `codecs.xcodec`, which work on long chunks as its streams do, since the semantic model sees everything."""

from dataclasses import replace
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional as F

from ..codecs.chunking import Plan
from ..codecs.xcodec import SemanticEncoder, Unit, XCodec
from .dac_blocks import Linear, RowsDecoder, RowsEncoder, Windows
from .graph import CHUNK_SECONDS, Direction, Network, Port, chunked_side
from .rows import anew, beside
from .search import CodeTable, ResidualSearch
from .teachers import PlainTeacher, can_be_plain


class XCodecEncoder(Network):
    """Samples, of which there are enough for a frame, to codes."""

    def __init__(self, codec: XCodec, codebooks: int) -> None:
        super().__init__()
        self.hop, self.frames_of = codec.spec.hop, codec._acoustic_frames
        self.takes = (Port("audio", ("batch", 1, "samples")),)
        self.gives = (Port("codes", ("batch", codebooks, "frames")),)
        self.teacher, self.semantic = PlainTeacher(codec.teacher), RowsSemantic(codec.semantic_encoder)
        self.encoder = OddEncoder(codec.encoder)
        self.enter = Linear(codec.enter.weight.detach(), codec.enter.bias)
        self.search = ResidualSearch(codec.quantizer.codebooks[:codebooks])

    def run(self, inputs: tuple[Tensor, ...], states: dict[str, Tensor]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        audio = inputs[0]
        semantic = self.semantic(self.teacher(audio[:, 0]))
        half = self.hop // 2 * (semantic.shape[1] - self.frames_of(audio.shape[2]))  # as published: see the codec
        acoustic = self.encoder(F.pad(audio, (half, half)))
        return (self.search(self.enter(beside(acoustic, semantic))),), states


class OddEncoder(RowsEncoder):
    """Audio of any length, whole frames or not, to latents."""

    def forward(self, audio: Tensor) -> Tensor:
        """Return the latents."""
        x = self.first(anew(audio.transpose(1, 2)))
        for stage in self.stages:
            x = anew(stage(x))
        return self.last(self.bend(x))


class RowsSemantic(nn.Module):
    """`codecs.xcodec.SemanticEncoder` on [batch, frames, width]."""

    def __init__(self, encoder: SemanticEncoder) -> None:
        super().__init__()
        self.first = Windows(encoder.first)
        self.blocks = nn.ModuleList(
            nn.Sequential(RowsUnit(first), RowsUnit(second), Windows(last)) for first, second, last in cast(Any, encoder.blocks)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the output."""
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return x


class RowsUnit(nn.Module):
    """`codecs.xcodec.Unit` on [batch, frames, width]."""

    def __init__(self, unit: Unit) -> None:
        super().__init__()
        self.conv1, self.conv2 = Windows(unit.conv1), Linear(unit.conv2.weight.detach()[:, :, 0], None)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output."""
        return x + self.conv2(F.elu(self.conv1(F.elu(x))))


class XCodecDecoder(Network):
    """Codes to samples."""

    def __init__(self, codec: XCodec, codebooks: int) -> None:
        super().__init__()
        self.takes = (Port("codes", ("batch", codebooks, "frames")),)
        self.gives = (Port("audio", ("batch", 1, f"{codec.spec.hop}*frames")),)
        self.table = CodeTable(codec.quantizer.codebooks[:codebooks])
        self.leave, self.decoder = codec.leave, RowsDecoder(codec.decoder)

    def run(self, inputs: tuple[Tensor, ...], states: dict[str, Tensor]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        return (self.decoder(self.leave(self.table(inputs[0]))),), states


def directions(codec: XCodec, codebooks: int) -> tuple[Direction | None, Direction]:
    """Return how a codec is exported: only its decoder where its semantic model is of another kind."""
    side = chunked_side("decoder.onnx", codec, Plan(codec, codec.config.blocks.reach, CHUNK_SECONDS))
    decoder = Direction(XCodecDecoder(codec, codebooks), side, {"batch": 2, "frames": 8})
    return encoder_of(codec, codebooks) if can_be_plain(codec.teacher) else None, decoder


def encoder_of(codec: XCodec, codebooks: int) -> Direction:
    """Return how audio is coded; chunks are those of the codec's streams, since others would give other codes."""
    plan, least = Plan(codec, codec.config.window, codec.config.chunk), codec.teacher.least
    side = replace(chunked_side("encoder.onnx", codec, plan), bulk=0, least=least, filled=not codec.config.moves_acoustic)
    return Direction(XCodecEncoder(codec, codebooks), side, {"batch": 2, "samples": 10 * plan.unit + 123})
