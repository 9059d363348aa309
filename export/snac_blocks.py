"""`codecs.layers.dac_blocks` with one filter per channel, as SNAC has it, in a graph: [batch, channels, time] as in torch.

The filters run along a channel's samples, so time comes last here, but in front of the transposed convolutions, which are
products of rows as in `dac_blocks`. A convolution of one filter per channel or of a stride takes two axes: ONNX Runtime then
computes it in blocks of channels, without a copy of its windows. Snake's factors are in the weights beside it as far as they
can be. What the decoder does at its highest rates it does in `blocks` of time.
"""

import copy
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from ..codecs.layers.attention import HEAD, LocalAttention, rotate
from ..codecs.layers.dac_blocks import Decoder, DownStage, Encoder, UpStage
from ..codecs.layers.dac_convolution import Conv, ResidualUnit, Snake
from . import blocks
from .dac_blocks import Bend, Transposed, bent, scales

IN_BLOCKS = 128  # channels up to which units are computed in blocks of time: wider ones are slow enough to stay in the cache


class ColumnsEncoder(nn.Module):
    """Audio [batch, 1, time], time a multiple of the hop, to latents [batch, latent, frames]."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.first = encoder.first
        self.stages = nn.ModuleList(ColumnsDown(cast(DownStage, stage)) for stage in encoder.stages)
        self.middle, self.last = plain_attention(encoder.middle), Flat(encoder.last)

    def forward(self, x: Tensor) -> Tensor:
        """Return the latents."""
        x = self.first(x)
        for stage in self.stages:
            x = stage(x)
        return self.last(self.middle(x))


class ColumnsDecoder(nn.Module):
    """Latents [batch, latent, frames] to audio [batch, 1, time]."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        assert decoder.mix is not None, "only decoders with one filter per channel"
        self.first, self.mix, self.middle = Flat(decoder.first), decoder.mix, plain_attention(decoder.middle)
        stages = [cast(UpStage, stage) for stage in decoder.stages]
        snakes = [cast(Snake, part.activation) for part in (*stages, decoder)]
        self.bend = Bend(snakes[0], time_last=True)
        lasts = [None] * (len(stages) - 1) + [scaled(decoder.last, scales(snakes[-1]))]
        self.stages = nn.ModuleList(ColumnsUp(*parts) for parts in zip(stages, snakes[1:], lasts, strict=True))
        self.tanh = decoder.tanh

    def forward(self, x: Tensor) -> Tensor:
        """Return the audio."""
        x = self.bend(self.middle(self.mix(self.first(x)))).transpose(1, 2)
        for stage in self.stages:
            x = stage(x)
        audio = x.transpose(1, 2)
        return audio.tanh() if self.tanh else audio


class ColumnsDown(nn.Module):
    """Residual units, activation, strided convolution: [batch, C, time] to [batch, 2 C, time / stride]."""

    def __init__(self, stage: DownStage) -> None:
        super().__init__()
        self.units = nn.Sequential(*(ColumnsUnit(cast(ResidualUnit, unit)) for unit in stage.units))
        self.bend = Bend(snake := cast(Snake, stage.activation), time_last=True)
        self.down = Flat(scaled(stage.down, scales(snake)))

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.bend(self.units(x)))


class ColumnsUp(nn.Module):
    """Transposed convolution, residual units, the activation after: [batch, time, C] to [batch, time * stride, C / 2].

    The decoder's last convolution is computed with them: [batch, time * stride, 1].
    """

    def __init__(self, stage: UpStage, after: Snake, last: Conv | None) -> None:
        super().__init__()
        self.up = Transposed(stage.up, scales(cast(Snake, stage.activation)))
        self.units = nn.ModuleList(ColumnsUnit(cast(ResidualUnit, unit)) for unit in stage.units)
        self.bend = Bend(after, time_last=True)
        self.last = nn.Identity() if last is None else last
        convolutions = [cast(ResidualUnit, unit).dilated for unit in stage.units] + ([] if last is None else [last])
        self.reach = sum(int(conv.padding[0]) for conv in convolutions)

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(x)
        cut = x.shape[2] <= IN_BLOCKS
        x = (blocks.enter(x, self.reach) if cut else x).transpose(1, 2)
        for unit in self.units:
            x = blocks.within(unit(x)) if cut else unit(x)
        x = self.last(self.bend(x)).transpose(1, 2)
        return blocks.leave(x) if cut else x


class ColumnsUnit(nn.Module):
    """x [batch, channels, time] plus a dilated convolution of 7 and one of 1, an activation before each."""

    def __init__(self, unit: ResidualUnit) -> None:
        super().__init__()
        before, between = scales(cast(Snake, unit.before)), scales(cast(Snake, unit.between))
        self.bend = Bend(cast(Snake, unit.before), time_last=True)
        self.dilated = Flat(scaled(unit.dilated, before, between))
        self.mixed = scaled(unit.mixed, between)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mixed(bent(self.dilated(self.bend(x))))


class Flat(nn.Module):
    """A convolution along the second of two axes, the first of which is 1."""

    def __init__(self, conv: Conv) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of x [batch, channels, time]."""
        conv, weight = self.conv, self.conv.weight[:, :, None]
        stride, pad, dilation = (1, conv.stride[0]), (0, int(conv.padding[0])), (1, conv.dilation[0])
        return F.conv2d(x[:, :, None], weight, conv.bias, stride, pad, dilation, conv.groups).squeeze(2)


def scaled(conv: Conv, before: Tensor, after: Tensor | None = None) -> Conv:
    """Return a convolution of inputs that are `before` times what they should be, to outputs that are `after` times theirs."""
    conv = copy.deepcopy(conv)
    weight, bias = conv.weight.detach().double(), conv.bias
    weight = weight / (before[:, None, None] if conv.groups > 1 else before[:, None])
    if after is not None:
        weight = weight * after[:, None, None]
    conv.weight = nn.Parameter(weight.float())
    if bias is not None and after is not None:
        conv.bias = nn.Parameter((bias.detach() * after).float())
    return conv


class PlainLocalAttention(nn.Module):
    """`codecs.layers.attention.LocalAttention` with its softmax written out, since the exporter knows four axes alone."""

    def __init__(self, attention: LocalAttention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: Tensor) -> Tensor:
        """Return the output for x [batch, channels, frames], frames a multiple of the window."""
        layer, (batch, channels, frames) = self.attention, x.shape
        x = x.transpose(1, 2)
        split = (batch, frames // layer.window, layer.window, channels // HEAD, HEAD)
        query, key, value = (part.reshape(split).transpose(2, 3) for part in layer.to_qkv(layer.norm(x)).chunk(3, dim=-1))
        weights = (rotate(query * HEAD**-0.5) @ rotate(key).transpose(3, 4)).softmax(-1)
        found = (weights @ value).transpose(2, 3).reshape(batch, frames, channels)
        return (x + layer.to_out(found)).transpose(1, 2)


def plain_attention(middle: nn.Module | None) -> nn.Module:
    """Return the attention of an encoder or decoder so that it can be exported, or nothing done where there is none."""
    return nn.Identity() if middle is None else PlainLocalAttention(cast(LocalAttention, middle))
