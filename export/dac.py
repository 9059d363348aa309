"""The networks of `codecs.dac`, which see both sides of a frame and therefore work on chunks that overlap."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..codecs.dac import DacCodec
from ..kernels.factorised import Projections, fold
from ..quantizers.factorised import ResidualFactorisedVQ
from .dac_blocks import RowsDecoder, RowsEncoder
from .graph import Direction, Network, Port, chunked_sides
from .search import CodeRows


class FoldedSearch(nn.Module):
    """Latents [batch, frames, dim] to the codes int64 [batch, stages, frames] of factorised stages.

    As in `kernels.factorised`: one product projects the latents for all stages, and each code takes from the projections of the
    stages after it what a table says, so that the residual itself is never formed.
    """

    def __init__(self, quantizer: ResidualFactorisedVQ, stages: int) -> None:
        super().__init__()
        parts = list(quantizer.stages)[:stages]
        stacked = (torch.stack([p.get_parameter(n).detach() for p in parts]) for n in PROJECTIONS)
        books = torch.stack([part.get_parameter("codebook").detach() for part in parts])
        folded = fold(Projections(*stacked), books)
        self.stages, self.width = stages, books.shape[2]
        self.register_buffer("weight", folded.weight.float())
        self.register_buffer("bias", folded.bias.float())
        for stage in range(stages):
            self.register_buffer(f"unit{stage}", folded.unit[stage])
            later = folded.cross[stage][:, (stage + 1) * self.width :]
            self.register_buffer(f"taken{stage}", (books[stage].double() @ later).float())

    def forward(self, latents: Tensor) -> Tensor:
        """Return the codes."""
        batch, frames, dim = latents.shape
        inside = F.linear(latents.reshape(batch * frames, dim), self.get_buffer("weight"), self.get_buffer("bias"))
        codes = []
        for stage in range(self.stages):
            own, inside = inside[:, : self.width], inside[:, self.width :]
            codes.append(F.linear(own, self.get_buffer(f"unit{stage}")).argmax(1))
            if stage + 1 < self.stages:
                inside = inside - F.embedding(codes[-1], self.get_buffer(f"taken{stage}"))
        return torch.stack(codes, dim=1).reshape(batch, frames, self.stages).transpose(1, 2)


PROJECTIONS = ("enter.weight", "enter.bias", "leave.weight", "leave.bias")


class FactorisedTable(nn.Module):
    """Codes [batch, stages, frames] to latents [batch, dim, frames]; silent codes add nothing, not even their stage's bias."""

    def __init__(self, quantizer: ResidualFactorisedVQ, stages: int) -> None:
        super().__init__()
        parts = list(quantizer.stages)[:stages]
        books = torch.stack([part.get_parameter("codebook").detach() for part in parts])
        # a last column of ones takes the bias along
        self.table = CodeRows(torch.cat([books, torch.ones_like(books[..., :1])], dim=2))
        maps = [torch.cat([p.get_parameter("leave.weight"), p.get_parameter("leave.bias")[:, None]], dim=1) for p in parts]
        self.weight = nn.Parameter(torch.cat(maps, dim=1).detach())

    def forward(self, codes: Tensor) -> Tensor:
        """Return the latents."""
        return F.linear(self.table(codes), self.weight).transpose(1, 2)


class DacEncoder(Network):
    """Samples, whole units of them, to codes."""

    def __init__(self, codec: DacCodec, codebooks: int) -> None:
        super().__init__()
        self.takes = (Port("audio", ("batch", 1, f"{codec.spec.hop}*frames")),)
        self.gives = (Port("codes", ("batch", codebooks, "frames")),)
        self.encoder = RowsEncoder(codec.encoder)
        self.search = FoldedSearch(codec.quantizer, codebooks)

    def run(self, inputs: tuple[Tensor, ...], states: dict[str, Tensor]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        return (self.search(self.encoder(inputs[0])),), states


class DacDecoder(Network):
    """Codes to samples; what a codec that does not keep its length lacks at the end is silence."""

    def __init__(self, codec: DacCodec, codebooks: int) -> None:
        super().__init__()
        self.hop = codec.spec.hop
        self.takes = (Port("codes", ("batch", codebooks, "frames")),)
        self.gives = (Port("audio", ("batch", 1, f"{self.hop}*frames")),)
        self.table = FactorisedTable(codec.quantizer, codebooks)
        self.decoder = RowsDecoder(codec.decoder)

    def run(self, inputs: tuple[Tensor, ...], states: dict[str, Tensor]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        audio = self.decoder(self.table(inputs[0]).transpose(1, 2))
        return (F.pad(audio, (0, inputs[0].shape[2] * self.hop - audio.shape[2])),), states


def directions(codec: DacCodec, codebooks: int) -> tuple[Direction, Direction]:
    """Return how a codec is exported."""
    sides = chunked_sides(codec)
    sizes = {"batch": 2, "frames": 8}
    return Direction(DacEncoder(codec, codebooks), sides[0], sizes), Direction(DacDecoder(codec, codebooks), sides[1], sizes)
