"""The networks of `codecs.snac`: streams of one codebook each, slow ones coding means over several frames."""

import torch
from torch import Tensor

from ..codecs.snac import SnacCodec
from .dac import FactorisedTable, FoldedSearch
from .fourier import sum_of
from .graph import Direction, Network, Port, chunked_sides
from .snac_blocks import FilteredDecoder, FilteredEncoder


class SnacEncoder(Network):
    """Samples, whole units of them, to the codes of each stream."""

    def __init__(self, codec: SnacCodec, codebooks: int) -> None:
        super().__init__()
        self.hops, self.strides = codec.padded_to, codec.config.frames_per_code
        self.takes = (Port("audio", ("batch", 1, f"{codec.padded_to}*frames")),)
        self.gives = tuple(Port(f"codes.{n}", ("batch", 1, axis)) for n, axis in enumerate(_axes(codec)[:codebooks]))
        self.encoder = FilteredEncoder(codec.encoder)
        scales = list(codec.quantizer.scales)[:codebooks]
        self.searches = torch.nn.ModuleList(FoldedSearch(scale, 1) for scale in scales)  # type: ignore[arg-type]
        self.tables = torch.nn.ModuleList(FactorisedTable(scale, 1) for scale in scales)  # type: ignore[arg-type]

    def run(self, inputs: tuple[Tensor, ...], states: dict[str, Tensor]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        residual, streams = self.encoder(inputs[0]), []
        for stride, search, table in zip(self.strides, self.searches, self.tables, strict=False):
            batch, width, frames = residual.shape
            streams.append(search(residual.reshape(batch, width, frames // stride, stride).mean(3).transpose(1, 2)))
            residual = residual - spread(table(streams[-1]), stride)
        return tuple(streams), states


class SnacDecoder(Network):
    """The codes of all streams to samples."""

    def __init__(self, codec: SnacCodec, codebooks: int) -> None:
        super().__init__()
        self.strides = codec.config.frames_per_code
        self.takes = tuple(Port(f"codes.{n}", ("batch", 1, axis)) for n, axis in enumerate(_axes(codec)[:codebooks]))
        self.gives = (Port("audio", ("batch", 1, f"{codec.padded_to}*frames")),)
        scales = list(codec.quantizer.scales)[:codebooks]
        self.tables = torch.nn.ModuleList(FactorisedTable(scale, 1) for scale in scales)  # type: ignore[arg-type]
        self.decoder = FilteredDecoder(codec.decoder)

    def run(self, inputs: tuple[Tensor, ...], states: dict[str, Tensor]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        parts = [spread(table(codes), n) for table, codes, n in zip(self.tables, inputs, self.strides, strict=False)]
        return (self.decoder(sum_of(parts)),), states


def spread(latents: Tensor, stride: int) -> Tensor:
    """Return each frame of [batch, dim, frames] `stride` times."""
    batch, dim, frames = latents.shape
    return latents[..., None].expand(batch, dim, frames, stride).reshape(batch, dim, frames * stride)


def _axes(codec: SnacCodec) -> list[str]:
    counts = [codec.padded_to // stream.hop for stream in codec.spec.streams]
    return ["frames" if count == 1 else f"{count}*frames" for count in counts]


def directions(codec: SnacCodec, codebooks: int) -> tuple[Direction, Direction]:
    """Return how a codec is exported."""
    sides = chunked_sides(codec)
    sizes = {"batch": 2, "frames": 3}
    return Direction(SnacEncoder(codec, codebooks), sides[0], sizes), Direction(SnacDecoder(codec, codebooks), sides[1], sizes)
