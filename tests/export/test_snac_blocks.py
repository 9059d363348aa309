"""The blocks of SNAC, one filter per channel: latents and audio of `codecs.layers.dac_blocks`, and its attention."""

import pytest
import torch

from toneme.codecs.layers.attention import LocalAttention
from toneme.codecs.layers.dac_blocks import DacBlocksConfig, Decoder, Encoder
from toneme.export.snac_blocks import FilteredDecoder, FilteredEncoder, PlainLocalAttention

from .agreement import AUDIO
from .test_dac_blocks import lively


@torch.no_grad()
@pytest.mark.parametrize("strides", [(2, 4), (3, 2)])
@pytest.mark.parametrize("frames", [1, 2, 7, 30])
def test_both_directions_are_the_layers(strides, frames):
    torch.manual_seed(0)
    config = DacBlocksConfig(8, strides, 32, 32, depthwise=True, noise=True)
    encoder, decoder = Encoder(config), Decoder(config)
    lively(encoder), lively(decoder)
    audio = torch.randn(2, 1, config.hop * frames)
    latents = encoder(audio)
    torch.testing.assert_close(FilteredEncoder(encoder)(audio), latents, atol=AUDIO, rtol=0)
    torch.testing.assert_close(FilteredDecoder(decoder)(latents), decoder(latents), atol=AUDIO, rtol=0)


@torch.no_grad()
def test_attention_written_out_is_the_layers():
    torch.manual_seed(0)
    x, layer = torch.randn(2, 128, 12), LocalAttention(128, 4)
    torch.testing.assert_close(PlainLocalAttention(layer)(x), layer(x), atol=1e-5, rtol=0)
