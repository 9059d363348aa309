"""The networks of `codecs.wavtokenizer`, which work on long chunks as its streams do, since parts of them see everything."""

import torch
from torch import Tensor, nn

from ..codecs.chunking import Plan
from ..codecs.layers.vocos import LOUDEST, FourierHead
from ..codecs.wavtokenizer import WavTokenizerCodec
from .convolution import Pass
from .fourier import InverseRealFourier, overlap_add
from .graph import Direction, Network, Port
from .manifest import Side
from .seanet import PlainEncoder
from .search import CodeTable, ResidualSearch


class WavTokenizerEncoder(Network):
    """Samples to codes; `length` says how many of them are audio where the last frame is filled up."""

    def __init__(self, codec: WavTokenizerCodec, codebooks: int) -> None:
        super().__init__()
        seanet = codec.config.seanet
        self.hop = seanet.hop
        self.takes = (Port("audio", ("batch", seanet.channels, f"{seanet.hop}*frames")), Port("length", (1,)))
        self.gives = (Port("codes", ("batch", codebooks, "frames")),)
        self.encoder = PlainEncoder(codec.encoder, self.hop)
        self.search = ResidualSearch(codec.quantizer.codebooks)

    def run(self, inputs: tuple[Tensor, ...], states: dict[str, Tensor]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        before = self.encoder.states(inputs[0].shape[0])
        walk = Pass(before, torch.zeros(1, 1, 1, dtype=torch.bool), inputs[1], self.hop)
        return (self.search(self.encoder(inputs[0].transpose(1, 2), walk)),), states


class WavTokenizerDecoder(Network):
    """Codes to samples."""

    def __init__(self, codec: WavTokenizerCodec, codebooks: int) -> None:
        super().__init__()
        self.takes = (Port("codes", ("batch", codebooks, "frames")),)
        self.gives = (Port("audio", ("batch", 1, f"{codec.config.vocos.hop}*frames")),)
        self.table = CodeTable(codec.quantizer.codebooks)
        self.backbone, self.head = codec.backbone, PlainHead(codec.head)

    def run(self, inputs: tuple[Tensor, ...], states: dict[str, Tensor]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        return (self.head(self.backbone(self.table(inputs[0]).transpose(1, 2))),), states


class PlainHead(nn.Module):
    """`codecs.layers.vocos.FourierHead` by products."""

    taper: Tensor

    def __init__(self, head: FourierHead) -> None:
        super().__init__()
        self.window, self.hop, self.out = head.window, head.hop, head.out
        self.register_buffer("taper", head.taper.clone())
        self.fourier = InverseRealFourier(head.window)

    def forward(self, features: Tensor) -> Tensor:
        """Return the audio [batch, 1, frames * hop] of features [batch, frames, width]."""
        magnitude, phase = self.out(features).chunk(2, dim=-1)
        magnitude = magnitude.exp().clamp(max=LOUDEST)
        sound = self._lay(self.fourier(magnitude * phase.cos(), magnitude * phase.sin()) * self.taper)
        weight = self._lay(self.taper.square().expand(1, features.shape[1], self.window))
        return (sound / weight)[:, None]

    def _lay(self, pieces: Tensor) -> Tensor:
        """Return windows [batch, frames, window] added up and cut to the hops that they are centred on."""
        overlap = self.window - self.hop
        start, end = overlap_add(pieces, pieces.new_zeros(pieces.shape[0], overlap), self.hop)
        return torch.cat([start, end], dim=1)[:, overlap // 2 : overlap // 2 + pieces.shape[1] * self.hop]


def directions(codec: WavTokenizerCodec, codebooks: int) -> tuple[Direction, Direction]:
    """Return how a codec is exported; chunks are those of its streams, since others would give other codes."""
    plan = Plan(codec, codec.config.window, codec.config.chunk)
    delay = (plan.chunk - 1 + plan.context) * plan.unit
    common = {"mode": "chunks", "unit": plan.unit, "chunk": plan.chunk, "context": plan.context, "delay": delay}
    encoder, decoder = Side("encoder.onnx", length=True, **common), Side("decoder.onnx", **common)
    sizes = {"batch": 2, "frames": 9}
    return (
        Direction(WavTokenizerEncoder(codec, codebooks), encoder, sizes),
        Direction(WavTokenizerDecoder(codec, codebooks), decoder, sizes),
    )
