"""The two halves of `codecs.layers.seanet` in a graph, causal ones."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..codecs.layers.seanet import DecoderStage, EncoderStage, ResidualBlock, SEANetDecoder, SEANetEncoder
from .convolution import Pass, PlainConv, PlainUpsampling
from .recurrent import PlainLSTM


class PlainBlock(nn.Module):
    """A residual block."""

    def __init__(self, block: ResidualBlock, name: str) -> None:
        super().__init__()
        self.act1, self.act2 = block.act1, block.act2
        self.conv1, self.conv2 = PlainConv(block.conv1, f"{name}.conv1"), PlainConv(block.conv2, f"{name}.conv2")
        self.shortcut = None if block.shortcut is None else PlainConv(block.shortcut, f"{name}.shortcut")

    def forward(self, x: Tensor, walk: Pass) -> Tensor:
        """Return the block's output."""
        inner = self.conv2(self.act2(self.conv1(self.act1(x), walk)), walk)
        return inner + (x if self.shortcut is None else self.shortcut(x, walk))


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
    """Audio [batch, channels, samples], whole frames, to latents [batch, dimension, frames]."""

    def __init__(self, encoder: SEANetEncoder) -> None:
        super().__init__()
        self.first = PlainConv(encoder.first, "first")
        stages = list(_stages(encoder))
        self.blocks = nn.ModuleList(_blocks(stage, n) for n, stage in enumerate(stages))
        self.acts = nn.ModuleList(stage.act for stage in stages)
        self.downs = nn.ModuleList(PlainConv(stage.down, f"down{n}") for n, stage in enumerate(stages))  # type: ignore[arg-type]
        self.lstm = None if encoder.lstm is None else PlainLSTM(encoder.lstm)
        self.act, self.last = encoder.act, PlainConv(encoder.last, "last")

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
    """Latents [batch, dimension, frames] to audio [batch, channels, samples]."""

    def __init__(self, decoder: SEANetDecoder) -> None:
        super().__init__()
        self.first = PlainConv(decoder.first, "first")
        self.lstm = None if decoder.lstm is None else PlainLSTM(decoder.lstm)
        stages = list(_stages(decoder))
        self.acts = nn.ModuleList(stage.act for stage in stages)
        self.ups = nn.ModuleList(PlainUpsampling(stage.up, f"up{n}") for n, stage in enumerate(stages))  # type: ignore[arg-type]
        self.blocks = nn.ModuleList(_blocks(stage, n) for n, stage in enumerate(stages))
        self.act, self.last = decoder.act, PlainConv(decoder.last, "last")

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


def _blocks(stage: EncoderStage | DecoderStage, number: int) -> nn.ModuleList:
    return nn.ModuleList(PlainBlock(block, f"stage{number}.{n}") for n, block in enumerate(stage.blocks))  # type: ignore[arg-type]


def started(states: dict[str, Tensor]) -> Tensor:
    """Return bool [batch, 1, 1] of the state "started", which is 0 before the first piece and 1 after it."""
    return states["started"][:, None, None] > 0.5


def started_after(states: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the state "started" after a piece."""
    return {"started": torch.ones_like(states["started"])}
