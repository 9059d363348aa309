"""The decoder of `codecs.xcodec`; its encoder hears through a speech model of its own, which stays with torch."""

from torch import Tensor

from ..codecs.chunking import Plan
from ..codecs.xcodec import XCodec
from .dac_blocks import RowsDecoder
from .graph import CHUNK_SECONDS, Direction, Network, Port, chunked_side
from .search import CodeTable


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


def directions(codec: XCodec, codebooks: int) -> tuple[None, Direction]:
    """Return how a codec is exported: only its decoder."""
    plan = Plan(codec, codec.config.blocks.reach, CHUNK_SECONDS)
    side = chunked_side("decoder.onnx", codec, plan)
    return None, Direction(XCodecDecoder(codec, codebooks), side, {"batch": 2, "frames": 8})
