"""The two halves of `codecs.layers.seanet` in a graph; x is [batch, time, channels] throughout."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..codecs.layers.activation import ELU
from ..codecs.layers.conv import Conv1d
from ..codecs.layers.seanet import DecoderStage, EncoderStage, ResidualBlock, SEANetDecoder, SEANetEncoder
from .convolution import Pass, PlainConv, PlainUpsampling, bias_of
from .elu_functions import TAPS
from .operators import elu, elu_block
from .recurrent import PlainLSTM
from .rows import affine, product


class PlainActivation(nn.Module):
    """An activation of x [batch, time, channels]."""

    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """Return the activation."""
        if isinstance(self.act, ELU):
            return elu(x)
        return self.act(x.transpose(1, 2)).transpose(1, 2)


class PlainBlock(nn.Module):
    """A residual block: the product of its second convolution is added to that of its shortcut."""

    def __init__(self, block: ResidualBlock, name: str, rate: int) -> None:
        super().__init__()
        self.act1, self.act2 = PlainActivation(block.act1), PlainActivation(block.act2)
        self.conv1 = PlainConv(block.conv1, f"{name}.conv1", rate)
        (weight, bias), self.skips = _matrix(block.conv2), block.shortcut is None
        self.register_buffer("weight", weight)
        if block.shortcut is not None:
            shortcut, more = _matrix(block.shortcut)
            self.register_buffer("shortcut", shortcut)
            bias = bias + more
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor, walk: Pass) -> Tensor:
        """Return the block's output."""
        inner, weight, bias = self.act2(self.conv1(self.act1(x), walk)), self.get_buffer("weight"), self.get_buffer("bias")
        if self.skips:
            return x + affine(inner, weight, bias)
        return product(inner, weight) + affine(x, self.get_buffer("shortcut"), bias)


class PlainEluBlock(nn.Module):
    """A residual block of three taps and ELU, as nearly all are: one operator, that of an ELU after it, too."""

    def __init__(self, block: ResidualBlock, name: str, rate: int, active: bool) -> None:
        super().__init__()
        self.conv1, self.active = PlainConv(block.conv1, f"{name}.conv1", rate), active
        matrix, bias = _matrix(block.conv2)
        if block.shortcut is not None:
            shortcut, more = _matrix(block.shortcut)
            matrix, bias = torch.cat([matrix, shortcut]), bias + more
        taps = block.conv1.weight.detach().permute(2, 1, 0).flatten(0, 1)
        for part, value in (("taps", taps), ("taps_bias", bias_of(block.conv1)), ("matrix", matrix), ("bias", bias)):
            self.register_buffer(part, value.clone())

    @staticmethod
    def fits(block: ResidualBlock) -> bool:
        """Say whether a block is such a one."""
        conv, plain = block.conv1, all(isinstance(act, ELU) for act in (block.act1, block.act2))
        shape = (conv.kernel_size[0], conv.stride[0], conv.dilation[0], conv.groups)
        return plain and conv.causal and shape == (TAPS, 1, 1, 1)

    def forward(self, x: Tensor, walk: Pass) -> Tensor:
        """Return the block's output."""
        before = self.conv1.before(elu(x[:, :TAPS]), walk)  # what is mirrored lies within
        weights = (self.get_buffer(part) for part in ("taps", "taps_bias", "matrix", "bias"))
        y, walk.after[self.conv1.name] = elu_block(x, before, *weights, self.active)
        return y


def _matrix(conv: Conv1d) -> tuple[Tensor, Tensor]:
    """Return weight [inputs, outputs] and bias of a convolution of single samples."""
    return conv.weight.detach()[..., 0].T.clone(), bias_of(conv).clone()


class _Half(nn.Module):
    """States of all layers inside, in order."""

    def states(self, batch: int) -> dict[str, Tensor]:
        """Return the states before the first piece, by name."""
        found: dict[str, Tensor] = {}
        for part in self.modules():
            if isinstance(part, PlainConv | PlainUpsampling | PlainLSTM):
                found |= part.states(batch)
        return found


class PlainEncoder(_Half):
    """Audio [batch, samples, channels], whole units, to latents [batch, frames, dimension]."""

    def __init__(self, encoder: SEANetEncoder, rate: int) -> None:
        """Take an encoder of `rate` samples a unit."""
        super().__init__()
        self.first = PlainConv(encoder.first, "first", rate)
        self.blocks, self.acts, self.downs = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for n, stage in enumerate(_stages(encoder)):
            blocks, act = _blocks(stage, n, rate, stage.act)
            self.blocks.append(blocks)
            self.acts.append(act)
            self.downs.append(PlainConv(stage.down, f"down{n}", rate))  # type: ignore[arg-type, union-attr]
            rate //= stage.down.stride[0]  # type: ignore[union-attr]
        self.lstm = None if encoder.lstm is None else PlainLSTM(encoder.lstm)
        self.act, self.last = PlainActivation(encoder.act), PlainConv(encoder.last, "last", rate)

    def forward(self, x: Tensor, walk: Pass) -> Tensor:
        """Return the latents of the next samples."""
        x = self.first(x, walk)
        for blocks, act, down in zip(self.blocks, self.acts, self.downs, strict=True):
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, walk)
            x = down(act(x), walk)
        x = x if self.lstm is None else self.lstm(x, walk)
        return self.last(self.act(x), walk)


class PlainDecoder(_Half):
    """Latents [batch, frames, dimension] to audio [batch, samples, channels]."""

    def __init__(self, decoder: SEANetDecoder, rate: int) -> None:
        """Take a decoder of `rate` frames a unit."""
        super().__init__()
        self.first = PlainConv(decoder.first, "first", rate)
        self.lstm = None if decoder.lstm is None else PlainLSTM(decoder.lstm)
        self.acts, self.ups, self.blocks = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        stages = list(_stages(decoder))
        acts = [*(stage.act for stage in stages), decoder.act]
        self.acts.append(PlainActivation(acts[0]))
        for n, stage in enumerate(stages):
            self.ups.append(PlainUpsampling(stage.up, f"up{n}", rate))  # type: ignore[arg-type, union-attr]
            rate *= stage.up.stride[0]  # type: ignore[union-attr]
            blocks, act = _blocks(stage, n, rate, acts[n + 1])
            self.blocks.append(blocks)
            self.acts.append(act)
        self.last = PlainConv(decoder.last, "last", rate)

    def forward(self, x: Tensor, walk: Pass) -> Tensor:
        """Return the audio of the next frames."""
        x = self.first(x, walk)
        x = x if self.lstm is None else self.lstm(x, walk)
        x = self.acts[0](x)
        for up, blocks, act in zip(self.ups, self.blocks, self.acts[1:], strict=True):  # type: ignore[arg-type]
            x = up(x, walk)
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, walk)
            x = act(x)
        return self.last(x, walk)


def _stages(half: SEANetEncoder | SEANetDecoder) -> Iterator[EncoderStage | DecoderStage]:
    yield from half.stages  # type: ignore[misc]


def _blocks(stage: EncoderStage | DecoderStage, number: int, rate: int, then: nn.Module) -> tuple[nn.ModuleList, nn.Module]:
    """Return the residual blocks of a stage, and the activation behind them as far as the last one does not contain it."""
    made: list[nn.Module] = []
    for n, block in enumerate(stage.blocks):
        assert isinstance(block, ResidualBlock)
        name, contained = f"stage{number}.{n}", n == len(stage.blocks) - 1 and isinstance(then, ELU)
        fits = PlainEluBlock.fits(block)
        made.append(PlainEluBlock(block, name, rate, contained) if fits else PlainBlock(block, name, rate))
    contained = bool(made) and isinstance(made[-1], PlainEluBlock) and made[-1].active
    return nn.ModuleList(made), nn.Identity() if contained else PlainActivation(then)


def started(states: dict[str, Tensor]) -> Tensor:
    """Return bool [batch, 1, 1] of the state "started", which is 0 before the first piece and 1 after it."""
    return states["started"][:, None, None] > 0.5


def started_after(states: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the state "started" after a piece."""
    return {"started": torch.ones_like(states["started"])}
