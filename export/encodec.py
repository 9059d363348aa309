"""The two networks of `codecs.encodec` where it is causal."""

import torch
from torch import Tensor

from ..codecs.encodec import EncodecCodec
from ..codecs.errors import CheckpointError
from .convolution import Pass
from .graph import Direction, Network, Port
from .manifest import Side
from .seanet import PlainDecoder, PlainEncoder, started, started_after
from .search import CodeTable, ResidualSearch

MOST = 240  # frames of one call: activations of three seconds


class EncodecEncoder(Network):
    """Samples to codes; `length` says how many of them are audio where the last piece is filled up."""

    def __init__(self, codec: EncodecCodec, codebooks: int) -> None:
        super().__init__()
        seanet = codec.config.seanet
        self.hop = seanet.hop
        self.takes = (Port("audio", ("batch", seanet.channels, f"{seanet.hop}*frames")), Port("length", (1,)))
        self.gives = (Port("codes", ("batch", codebooks, "frames")),)
        self.encoder = PlainEncoder(codec.encoder, self.hop)
        self.search = ResidualSearch(codec.quantizer.codebooks[:codebooks])

    def states(self, batch: int) -> dict[str, Tensor]:
        return {"started": torch.zeros(batch), **self.encoder.states(batch)}

    def run(self, inputs: tuple[Tensor, ...], states: dict[str, Tensor]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        walk = Pass(states, started(states), inputs[1], self.hop)
        latents = self.encoder(inputs[0].transpose(1, 2), walk)
        return (self.search(latents),), {**walk.after, **started_after(states)}


class EncodecDecoder(Network):
    """Codes to samples."""

    def __init__(self, codec: EncodecCodec, codebooks: int) -> None:
        super().__init__()
        seanet = codec.config.seanet
        self.takes = (Port("codes", ("batch", "codebooks", "frames")),)
        self.gives = (Port("audio", ("batch", seanet.channels, f"{seanet.hop}*frames")),)
        self.table = CodeTable(codec.quantizer.codebooks[:codebooks])
        self.decoder = PlainDecoder(codec.decoder, 1)

    def states(self, batch: int) -> dict[str, Tensor]:
        return {"started": torch.zeros(batch), **self.decoder.states(batch)}

    def run(self, inputs: tuple[Tensor, ...], states: dict[str, Tensor]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        walk = Pass(states, started(states))
        audio = self.decoder(self.table(inputs[0]), walk)
        return (audio.transpose(1, 2),), {**walk.after, **started_after(states)}


def directions(codec: EncodecCodec, codebooks: int) -> tuple[Direction, Direction]:
    """Return how a codec is exported.

    Raises:
        CheckpointError: if it is not causal.
    """
    config = codec.config
    if config.segment:
        raise CheckpointError(f"{codec.name} works on segments of audio: only the causal EnCodec of 24 kHz can be exported")
    hop, starts = config.seanet.hop, (codec.encoder.start_frames, codec.decoder.start_frames)
    encoder = Side("encoder.onnx", "steps", hop, start=starts[0], most=MOST, length=True, delay=(starts[0] - 1) * hop)
    decoder = Side("decoder.onnx", "steps", hop, start=starts[1], most=MOST, delay=(starts[1] - 1) * hop)
    sizes = {"batch": 2, "frames": 9}
    return (
        Direction(EncodecEncoder(codec, codebooks), encoder, sizes),
        Direction(EncodecDecoder(codec, codebooks), decoder, {**sizes, "codebooks": 2}),
    )
