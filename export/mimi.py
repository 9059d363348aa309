"""The two networks of `codecs.mimi`."""

import torch
from torch import Tensor, nn

from ..codecs.mimi import MimiCodec
from ..quantizers.split import Branch
from .convolution import Pass, PlainConv, PlainUpsampling
from .fourier import sum_of
from .graph import Direction, Network, Port
from .manifest import Side
from .seanet import PlainDecoder, PlainEncoder, started, started_after
from .search import CodeRows, ResidualSearch
from .transformer import PlainTransformer

MOST = 25  # frames of one call: attention sees that many more keys, and activations of two seconds are held


class MimiEncoder(Network):
    """Samples to the semantic code and the acoustic ones."""

    def __init__(self, codec: MimiCodec, codebooks: int) -> None:
        super().__init__()
        config = codec.config
        self.takes = (Port("audio", ("batch", config.seanet.channels, f"{config.hop}*frames")),)
        self.gives = (Port("codes", ("batch", codebooks, "frames")),)
        self.encoder = PlainEncoder(codec.encoder, config.hop)
        self.transformer = PlainTransformer(codec.encoder_transformer)
        self.down = PlainConv(codec.down, "resample", config.stride)
        self.rows = f"{config.stride}*frames"
        self.branches = nn.ModuleList(
            BranchSearch(branch, depth) for branch, depth in _depths(codec, codebooks) if depth
        )  # fmt: skip

    def states(self, batch: int) -> dict[str, Tensor]:
        parts = (self.encoder, self.transformer, self.down)
        return {"started": torch.zeros(batch)} | {k: v for part in parts for k, v in part.states(batch).items()}

    def rings(self) -> dict[str, tuple[int, str]]:
        return self.transformer.rings(self.rows)

    def run(self, inputs: tuple[Tensor, ...], states: dict[str, Tensor]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        walk = Pass(states, started(states))
        latents = self.down(self.transformer(self.encoder(inputs[0].transpose(1, 2), walk), walk), walk)
        codes = torch.cat([branch(latents) for branch in self.branches], dim=1)
        return (codes,), {**walk.after, **started_after(states)}


class BranchSearch(nn.Module):
    """Latents [batch, frames, dim] to the codes of one branch."""

    def __init__(self, branch: Branch, depth: int) -> None:
        super().__init__()
        self.enter = nn.Parameter(branch.enter.weight.detach()[..., 0].clone())
        self.search = ResidualSearch(branch.quantizer.codebooks[:depth])

    def forward(self, latents: Tensor) -> Tensor:
        """Return the codes [batch, depth, frames]."""
        return self.search(nn.functional.linear(latents, self.enter))


class SplitTable(nn.Module):
    """Codes [batch, up to Q, frames] to latents [batch, frames, dim]: each branch's sum through its own projection.

    All codes are looked up at once and told apart by place, since a branch may have none.
    """

    def __init__(self, codec: MimiCodec, codebooks: int) -> None:
        super().__init__()
        self.semantic = codec.config.semantic
        branches = (codec.quantizer.semantic, codec.quantizer.acoustic)
        self.rows = CodeRows(torch.cat([branch.quantizer.codebooks for branch in branches])[:codebooks])
        self.leave = nn.ParameterList(branch.leave.weight.detach()[..., 0].clone() for branch in branches)

    def forward(self, codes: Tensor) -> Tensor:
        """Return the latents."""
        vectors = self.rows.look_up(codes)
        semantic = (torch.arange(codes.shape[1]) < self.semantic).to(vectors.dtype)[:, None, None]
        sums = ((vectors * part).sum(1) for part in (semantic, 1 - semantic))
        return sum_of([nn.functional.linear(part, leave) for part, leave in zip(sums, self.leave, strict=True)])


class MimiDecoder(Network):
    """Codes to samples."""

    def __init__(self, codec: MimiCodec, codebooks: int) -> None:
        super().__init__()
        config = codec.config
        self.takes = (Port("codes", ("batch", "codebooks", "frames")),)
        self.gives = (Port("audio", ("batch", config.seanet.channels, f"{config.hop}*frames")),)
        self.table = SplitTable(codec, codebooks)
        self.up = PlainUpsampling(codec.up, "resample", 1)
        self.transformer = PlainTransformer(codec.decoder_transformer)
        self.decoder = PlainDecoder(codec.decoder, config.stride)
        self.rows = f"{config.stride}*frames"

    def states(self, batch: int) -> dict[str, Tensor]:
        parts = (self.up, self.transformer, self.decoder)
        return {"started": torch.zeros(batch)} | {k: v for part in parts for k, v in part.states(batch).items()}

    def rings(self) -> dict[str, tuple[int, str]]:
        return self.transformer.rings(self.rows)

    def run(self, inputs: tuple[Tensor, ...], states: dict[str, Tensor]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        walk = Pass(states, started(states))
        x = self.transformer(self.up(self.table(inputs[0]), walk), walk)
        return (self.decoder(x, walk).transpose(1, 2),), {**walk.after, **started_after(states)}


def _depths(codec: MimiCodec, codebooks: int) -> list[tuple[Branch, int]]:
    semantic = min(codebooks, codec.config.semantic)
    return [(codec.quantizer.semantic, semantic), (codec.quantizer.acoustic, codebooks - semantic)]


def directions(codec: MimiCodec, codebooks: int) -> tuple[Direction, Direction]:
    """Return how a codec is exported."""
    sizes = {"batch": 2, "frames": 3}
    sides = [Side(file, "steps", codec.config.hop, most=MOST) for file in ("encoder.onnx", "decoder.onnx")]
    return (
        Direction(MimiEncoder(codec, codebooks), sides[0], sizes),
        Direction(MimiDecoder(codec, codebooks), sides[1], {**sizes, "codebooks": 2}),
    )
