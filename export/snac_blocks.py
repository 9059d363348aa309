"""`codecs.layers.dac_blocks` with one filter per channel, as SNAC has it, in a graph.

At the audio's rates it is what `dac_blocks` makes of DAC, time-major. At the latents', where little is to be done, it is what
torch does: [batch, channels, time].
"""

from typing import cast

from torch import Tensor, nn

from ..codecs.layers.attention import HEAD, LocalAttention, rotate
from ..codecs.layers.dac_blocks import Decoder, DownStage, Encoder, UpStage
from ..codecs.layers.dac_convolution import Snake
from .dac_blocks import Projection, RowsDown, RowsUp, Windows


class FilteredEncoder(nn.Module):
    """Audio [batch, 1, time], time a multiple of the hop, to latents [batch, latent, frames]."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.first = Windows(encoder.first)
        self.stages = nn.ModuleList(RowsDown(cast(DownStage, stage)) for stage in encoder.stages)
        self.middle, self.last = plain_attention(encoder.middle), encoder.last

    def forward(self, audio: Tensor) -> Tensor:
        """Return the latents."""
        x = self.first(audio.transpose(1, 2))
        for stage in self.stages:
            x = stage(x)
        return self.last(self.middle(x.transpose(1, 2)))


class FilteredDecoder(nn.Module):
    """Latents [batch, latent, frames] to audio [batch, 1, time]."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        assert decoder.mix is not None, "only decoders with one filter per channel"
        self.first, self.mix, self.middle = decoder.first, decoder.mix, plain_attention(decoder.middle)
        self.stages = nn.ModuleList(RowsUp(cast(UpStage, stage)) for stage in decoder.stages)
        self.last = Projection(decoder.last, cast(Snake, decoder.activation))
        self.tanh = decoder.tanh

    def forward(self, x: Tensor) -> Tensor:
        """Return the audio."""
        x = self.middle(self.mix(self.first(x))).transpose(1, 2)
        for stage in self.stages:
            x = stage(x)
        audio = self.last(x).transpose(1, 2)
        return audio.tanh() if self.tanh else audio


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
