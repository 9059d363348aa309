"""The blocks of DAC on time-major memory: latents and audio of `codecs.layers.dac_blocks`, at any length."""

import pytest
import torch

from toneme.codecs.layers.dac_blocks import DacBlocksConfig, Decoder, Encoder
from toneme.codecs.layers.dac_convolution import ConvTranspose, Snake
from toneme.export.dac_blocks import Bend, RowsDecoder, RowsEncoder, Transposed, scales

from .agreement import AUDIO

SIZES = [(2, 5), (4, 3)]


def lively(module: torch.nn.Module) -> None:
    """Give every activation a scale of its own, one of them 0."""
    for part in module.modules():
        if isinstance(part, Snake):
            torch.nn.init.uniform_(part.alpha, 0.2, 2)
            part.alpha.data[0, 0] = 0


@torch.no_grad()
@pytest.mark.parametrize("strides", SIZES)
@pytest.mark.parametrize("keeps_length", [True, False])
@pytest.mark.parametrize("frames", [1, 2, 7, 30])
def test_both_directions_are_the_layers(strides, keeps_length, frames):
    torch.manual_seed(0)
    config = DacBlocksConfig(8, strides, 32, 32, keeps_length=keeps_length)
    encoder, decoder = Encoder(config), Decoder(config)
    lively(encoder), lively(decoder)
    audio = torch.randn(2, 1, config.hop * frames)
    latents = encoder(audio)
    torch.testing.assert_close(RowsEncoder(encoder)(audio).transpose(1, 2), latents, atol=AUDIO, rtol=0)
    torch.testing.assert_close(RowsDecoder(decoder)(latents.transpose(1, 2)), decoder(latents), atol=AUDIO, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("strides", SIZES)
def test_latents_of_parts_of_a_frame_are_the_layers(strides):
    torch.manual_seed(0)
    encoder = Encoder(DacBlocksConfig(8, strides, 32, 32))
    lively(encoder)
    for samples in range(37, 50):
        audio = torch.randn(2, 1, samples)
        torch.testing.assert_close(RowsEncoder(encoder)(audio).transpose(1, 2), encoder(audio), atol=AUDIO, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("stride", [2, 3, 8])
def test_rows_in_pairs_are_the_transposed_convolution(stride):
    torch.manual_seed(0)
    layer = ConvTranspose(6, 4, stride, keeps_length=True)
    snake = Snake(6)
    for time in (1, 2, 5):
        x = torch.randn(2, 6, time)
        ours = Transposed(layer, snake)(x.transpose(1, 2))
        torch.testing.assert_close(ours.transpose(1, 2), layer(x, snake), atol=AUDIO, rtol=0)


@torch.no_grad()
def test_scales_leave_the_activation_what_it_is_even_where_they_are_nearly_nothing():
    layer, x = Snake(6), torch.randn(2, 50, 6, generator=torch.Generator().manual_seed(0))
    layer.alpha.copy_(torch.tensor([0, 1e-6, 1e-3, 1, 30, -2.0]).view(1, -1, 1))
    ours = Bend(layer)(x) / scales(layer)
    torch.testing.assert_close(ours.float().transpose(1, 2), layer(x.transpose(1, 2)), atol=1e-6, rtol=1e-6)
