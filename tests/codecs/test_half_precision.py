"""Products of 16 bits on a processor without them: rounded once, and only where they are wanted."""

import copy

import pytest
import torch
from torch import nn

from toneme.codecs import half_precision
from toneme.codecs.half_precision import WideProducts, inference
from toneme.codecs.registry import load

HALVES = (torch.bfloat16, torch.float16)


@pytest.fixture
def lacking(monkeypatch):
    """A processor that multiplies 32 bits alone."""
    monkeypatch.setattr(half_precision, "multiplies", lambda dtype: False)


def seeded(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


LAYERS = {
    "conv": (nn.Conv1d(8, 12, 5, stride=2), seeded(2, 8, 64)),
    "transposed": (nn.ConvTranspose1d(8, 12, 4, stride=2), seeded(2, 8, 64)),
    "linear": (nn.Linear(8, 12), seeded(2, 64, 8)),
    "attention": (nn.MultiheadAttention(8, 2), seeded(6, 3, 8)),
    "lstm": (nn.LSTM(8, 12, 2), seeded(6, 3, 8)),
}


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", ["conv", "transposed", "linear"])
def test_a_product_is_that_of_32_bits_rounded_once(name, dtype):
    layer, x = LAYERS[name]
    layer, x = copy.deepcopy(layer).to(dtype), x.to(dtype)
    with torch.inference_mode(), WideProducts():
        found = layer(x)
    assert found.dtype == dtype
    assert torch.equal(found, copy.deepcopy(layer).float()(x.float()).to(dtype))


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", ["attention", "lstm"])
def test_layers_of_several_products_are_as_near_as_pytorchs(name, dtype):
    layer, x = LAYERS[name]
    call = (lambda layer, x: layer(x, x, x)[0]) if name == "attention" else (lambda layer, x: layer(x)[0])
    exact = call(layer, x)
    rounded, seen = copy.deepcopy(layer).to(dtype), x.to(dtype)
    with torch.inference_mode():
        theirs = call(rounded, seen)
        with WideProducts():
            ours = call(rounded, seen)
    assert ours.dtype == dtype
    assert (ours - exact).abs().max() <= 1.5 * (theirs - exact).abs().max()


def test_32_bits_pass_untouched():
    layer, x = LAYERS["conv"]
    with torch.inference_mode(), WideProducts():
        assert torch.equal(layer(x), layer.forward(x))
        assert (x @ x.mT).dtype == torch.float32


def test_inference_takes_no_gradients_and_widens_where_it_must(lacking, monkeypatch):
    for dtype, expected in ((torch.float32, False), (torch.bfloat16, True)):
        entered = []
        monkeypatch.setattr(half_precision, "WideProducts", lambda entered=entered: entered.append(1) or WideProducts())
        with inference(nn.Linear(2, 2).to(dtype)):
            assert torch.is_inference_mode_enabled()
        assert bool(entered) == expected
    monkeypatch.setattr(half_precision, "multiplies", lambda dtype: True)
    assert not half_precision.lacks_products(torch.zeros(1, dtype=torch.bfloat16))


def test_a_codec_in_16_bits_streams_as_it_codes_whole(lacking):
    codec = load("default").to(torch.bfloat16)
    waveform = 0.1 * seeded(1, 1, 9600)
    whole = codec.encode(waveform)
    encoder = codec.stream_encoder()
    pieces = [encoder.push(waveform[..., i : i + 4800]) for i in range(0, 9600, 4800)]
    assert torch.equal(torch.cat([*pieces, encoder.flush()], -1), whole.codes)
    assert codec.decode(whole).shape == waveform.shape
