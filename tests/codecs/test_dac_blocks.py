"""The blocks of DAC, SNAC and BigCodec: fast path against torch's own layers, lengths, reach and refusals."""

import pytest
import torch

from toneme.codecs.errors import CheckpointError, ShapeError
from toneme.codecs.layers import toom_cook
from toneme.codecs.layers.alias_free import low_pass
from toneme.codecs.layers.attention import LocalAttention
from toneme.codecs.layers.dac_blocks import DacBlocksConfig, Decoder, Encoder
from toneme.codecs.layers.dac_convolution import Conv, ConvTranspose, ResidualUnit, Snake, Units

SHAPES = {
    "dac": DacBlocksConfig(4, (2, 5), 16, 16, keeps_length=False),
    "kept": DacBlocksConfig(4, (3, 2), 16, 16),
    "snac": DacBlocksConfig(16, (2, 3), 64, 64, depthwise=True, noise=True, attention=4),
    "bigcodec": DacBlocksConfig(4, (2, 5), 8, 16, activation="alias_free_snake_beta", lstm=2),
}


@pytest.mark.parametrize("frames", [1, 37, 1200])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_fast_path_equals_torchs_layers(way: str, shape: str, frames: int):
    torch.manual_seed(0)
    config, frames = SHAPES[shape], frames * (4 if SHAPES[shape].attention else 1)
    for module, x in (
        (Encoder(config), torch.randn(2, 1, frames * config.hop)),
        (Decoder(config), torch.randn(2, config.latent, frames)),
    ):
        with torch.inference_mode():
            fast = module(x)
        torch.testing.assert_close(fast, module(x).detach(), atol=1e-5, rtol=1e-5)  # sums in another order


@pytest.mark.parametrize("channels", [64, 96])
@pytest.mark.parametrize("dilation", [1, 3, 9])
@pytest.mark.parametrize("time", [1, 27, 1500])
def test_wide_units_equal_torchs_layers(way: str, channels: int, dilation: int, time: int):
    torch.manual_seed(0)
    unit = ResidualUnit(channels, dilation, Snake(channels), Snake(channels), depthwise=False)
    x = torch.randn(2, channels, time)
    with torch.inference_mode():
        torch.testing.assert_close(unit(x), unit(x.clone().requires_grad_()).detach(), atol=1e-5, rtol=1e-5)
    assert unit.dilated._pack.__self__.__dict__["_packed"].kind == (
        "taps" if channels == 64 and way == "torch" else "toom_cook"
    )


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("time", [1, 27, 511, 1500])
def test_units_that_overwrite_what_is_theirs_give_the_same(way: str, depthwise: bool, time: int):
    torch.manual_seed(0)
    units = Units(*(ResidualUnit(128, dilation, Snake(128), Snake(128), depthwise) for dilation in (9, 3, 1)))
    x = torch.randn(2, 128, time)
    given = x.clone()
    with torch.inference_mode():
        apart = x
        for unit in units:
            apart = unit(apart)
        found = units(x)
        assert torch.equal(found, apart)
        assert torch.equal(x, given)
        assert torch.equal(units(x, owned=True), apart)


def test_half_the_products_round_little(way: str):
    torch.manual_seed(0)
    x, weight = torch.randn(1000, 96, dtype=torch.float64), torch.randn(96, 96, 7, dtype=torch.float64) / (7 * 96) ** 0.5
    exact = torch.nn.functional.conv1d(x.T[None], weight, dilation=3)[0].T[:600]
    found = toom_cook.convolve(toom_cook.pack(weight), None, 3, x[: toom_cook.rows_for(600, 3)].float(), 600)
    assert (found - exact).abs().max() < 2e-5
    assert (found - exact).square().mean().sqrt() < 2e-6


@pytest.mark.parametrize("stride", [2, 3, 5, 8])
def test_lengths_of_strided_layers(stride: int):
    x = torch.randn(1, 4, 6 * stride)
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            assert Conv(4, 8, 2 * stride, stride)(x).shape[-1] == 6
            assert ConvTranspose(4, 2, stride, keeps_length=True)(x).shape[-1] == x.shape[-1] * stride
            assert ConvTranspose(4, 2, stride, keeps_length=False)(x).shape[-1] == x.shape[-1] * stride - stride % 2


def test_new_weights_are_used_at_once():
    layer, x = Conv(4, 4, 7), torch.randn(1, 4, 50)
    with torch.inference_mode():
        before = layer(x)
    with torch.no_grad():
        layer.weight.mul_(2)
        layer.bias.mul_(2)
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), 2 * before)


def test_attention_keeps_to_its_window():
    torch.manual_seed(0)
    layer, x = LocalAttention(64, 4), torch.randn(1, 64, 12)
    changed = x.clone()
    changed[..., 5] += 1
    same = (layer(x) == layer(changed)).all(1)[0]
    assert same.tolist() == [True] * 4 + [False] * 4 + [True] * 4
    with pytest.raises(ShapeError, match="multiple of the window"):
        layer(x[..., :11])


def test_the_low_pass_is_symmetric_and_sums_to_one():
    taps = low_pass()
    torch.testing.assert_close(taps, taps.flip(0), atol=1e-6, rtol=0)
    assert taps.sum().item() == pytest.approx(1, abs=1e-6)


def test_an_impossible_shape_is_refused():
    with pytest.raises(CheckpointError, match="activation"):
        DacBlocksConfig(activation="relu")
    with pytest.raises(CheckpointError, match="latents have"):
        DacBlocksConfig(depthwise=True, latent=100)
