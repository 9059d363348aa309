"""The two halves of `codecs.layers.seanet` in a graph; x is [batch, time, channels] throughout."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..codecs.layers.activation import ELU
from ..codecs.layers.conv import Conv1d
from ..codecs.layers.seanet import DecoderStage, EncoderStage, ResidualBlock, SEANetDecoder, SEANetEncoder
from .convolution import Pass, PlainConv, PlainUpsampling, bias_of
from .operators import elu
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
            self.blocks.append(_blocks(stage, n, rate))
            self.acts.append(PlainActivation(stage.act))
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
        for n, stage in enumerate(_stages(decoder)):
            self.acts.append(PlainActivation(stage.act))
            self.ups.append(PlainUpsampling(stage.up, f"up{n}", rate))  # type: ignore[arg-type, union-attr]
            rate *= stage.up.stride[0]  # type: ignore[union-attr]
            self.blocks.append(_blocks(stage, n, rate))
        self.act, self.last = PlainActivation(decoder.act), PlainConv(decoder.last, "last", rate)

    def forward(self, x: Tensor, walk: Pass) -> Tensor:
        """Return the audio of the next frames."""
        x = self.first(x, walk)
        x = x if self.lstm is None else self.lstm(x, walk)
        for blocks, act, up in zip(self.blocks, self.acts, self.ups, strict=True):
            x = up(act(x), walk)
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, walk)
        return self.last(self.act(x), walk)


def _stages(half: SEANetEncoder | SEANetDecoder) -> Iterator[EncoderStage | DecoderStage]:
    yield from half.stages  # type: ignore[misc]


def _blocks(stage: EncoderStage | DecoderStage, number: int, rate: int) -> nn.ModuleList:
    return nn.ModuleList(PlainBlock(block, f"stage{number}.{n}", rate) for n, block in enumerate(stage.blocks))  # type: ignore[arg-type]


def started(states: dict[str, Tensor]) -> Tensor:
    """Return bool [batch, 1, 1] of the state "started", which is 0 before the first piece and 1 after it."""
    return states["started"][:, None, None] > 0.5


def started_after(states: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the state "started" after a piece."""
    return {"started": torch.ones_like(states["started"])}
