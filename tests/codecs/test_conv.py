"""Convolutions: published padding, steps equal the whole, the CPU's matrix products equal torch's convolutions."""

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from toneme.codecs.errors import ShapeError
from toneme.codecs.layers import rows
from toneme.codecs.layers.activation import activation
from toneme.codecs.layers.conv import Conv1d, ConvTranspose1d
from toneme.codecs.layers.padding import pad_time

CONVS = [
    # in, out, kernel, stride, dilation, groups: every kind of matrix product, and those that have none
    (3, 5, 7, 1, 1, 1),
    (1, 8, 7, 1, 1, 1),
    (40, 1, 7, 1, 1, 1),
    (40, 20, 3, 1, 4, 1),
    (6, 8, 1, 1, 1, 1),
    (16, 8, 4, 2, 1, 1),
    (8, 8, 10, 5, 1, 1),
    (4, 4, 5, 3, 1, 1),
    (4, 4, 4, 2, 1, 4),
    (4, 4, 4, 2, 2, 1),
]


def signal(channels: int, time: int, batch: int = 2) -> Tensor:
    return torch.randn(batch, channels, time, generator=torch.Generator().manual_seed(time))


def build(shape: tuple[int, ...], **options) -> Conv1d:
    torch.manual_seed(0)
    width, out, kernel, stride, dilation, groups = shape
    return Conv1d(width, out, kernel, stride, dilation, groups, **options).eval()


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("mode", ["reflect", "constant", "replicate"])
@pytest.mark.parametrize("shape", CONVS)
def test_padding_is_the_published_one(shape: tuple[int, ...], mode: str, causal: bool):
    layer, x = build(shape, causal=causal, pad_mode=mode), signal(shape[0], 61)
    kernel, stride = (shape[2] - 1) * shape[4] + 1, shape[3]
    total = kernel - stride
    frames = -(-(61 - kernel + total) // stride) + 1
    extra = (frames - 1) * stride + kernel - total - 61
    left = total if causal else total - total // 2
    padded = F.pad(x, (left, total - left + extra), mode)
    expected = F.conv1d(padded, layer.weight, layer.bias, stride, 0, shape[4], shape[5])
    torch.testing.assert_close(layer(x), expected)
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(layer(x, onto=torch.ones_like(expected)), expected + 1, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("mode", ["reflect", "constant", "replicate"])
@pytest.mark.parametrize("shape", CONVS)
def test_steps_equal_the_whole(shape: tuple[int, ...], mode: str, fast: bool):
    layer, stride = build(shape, causal=True, pad_mode=mode), shape[3]
    x = signal(shape[0], 17 * stride + stride // 2)
    with torch.inference_mode(fast), torch.no_grad() if fast else torch.enable_grad():
        whole, state, pieces = layer(x), layer.initial_state(2), []
        sizes = [9 * stride, stride, 0, 3 * stride, 4 * stride + stride // 2]
        for number, piece in enumerate(x.split(sizes, dim=-1)):
            y, state = layer.step(piece, state, final=number == len(sizes) - 1)
            pieces.append(y)
        torch.testing.assert_close(torch.cat(pieces, dim=-1), whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["elu", "snake"])
@pytest.mark.parametrize("mode", ["reflect", "constant", "replicate"])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("time", [2, 41])
def test_an_activation_before_is_that_of_the_input(name: str, mode: str, causal: bool, time: int):
    layer, x, before = build((6, 8, 8, 4, 1, 1), causal=causal, pad_mode=mode), signal(6, time), activation(name, 6)
    up = ConvTranspose1d(6, 3, 4, 2, causal=causal).eval()
    expected, raised = layer(before(x)), up(before(x))
    torch.testing.assert_close(layer(x, before=before), expected)
    with torch.inference_mode():
        torch.testing.assert_close(layer(x, before=before), expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(up(x, before=before), raised, atol=1e-5, rtol=1e-5)
        if causal and time > 8:
            first, state = layer.step(x[..., :8], layer.initial_state(2), before=before)
            last, _ = layer.step(x[..., 8:], state, final=True, before=before)
            torch.testing.assert_close(torch.cat([first, last], dim=-1), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("length", [rows.HALVED_ROWS, rows.HALVED_ROWS + 1])
@pytest.mark.parametrize("kind", [Conv1d, ConvTranspose1d])
@pytest.mark.parametrize("bias", [True, False])
def test_two_large_taps_round_as_little_as_torch(kind: type, length: int, bias: bool):
    torch.manual_seed(0)
    down = kind is Conv1d
    layer = kind(64, 128, 8, 4, bias=bias, causal=True) if down else kind(128, 64, 8, 4, bias=bias, causal=True)
    x = signal(layer.in_channels, length * (4 if down else 1))
    exact, plain = copy.deepcopy(layer).double()(x.double()), layer(x)
    with torch.inference_mode():
        assert layer._pack(x).both is not None
        error, torchs = ((y - exact).abs().max() for y in (layer(x), plain))
    assert error < 4 * torchs  # a difference of inputs and a sum of taps each round once more


@pytest.mark.parametrize("length", [1, 2, 5, 6, 7])
def test_reflection_of_short_signals_inserts_zeros(length: int):
    x = signal(1, length)
    short = max(0, 6 - length + 1)
    expected = F.pad(F.pad(x, (0, short)), (6, 0), "reflect")
    assert torch.equal(pad_time(x, 6, 0, "reflect"), expected[..., : 6 + length])


def test_what_a_step_cannot_take_is_refused():
    layer = build((3, 5, 4, 2, 1, 1), causal=True)
    with pytest.raises(ShapeError, match="longer than 2"):
        layer.step(signal(3, 2), layer.initial_state(2))
    with pytest.raises(ShapeError, match="multiple of stride 2"):
        layer.step(signal(3, 7), layer.initial_state(2))
    with pytest.raises(ShapeError, match="causal"):
        build((3, 5, 4, 2, 1, 1)).step(signal(3, 8), torch.zeros(2, 3, 0))
    with pytest.raises(ShapeError, match="pad_mode"):
        build((3, 5, 4, 2, 1, 1), pad_mode="circular")
    for kind in (Conv1d, ConvTranspose1d):
        with pytest.raises(ShapeError, match="where the layer is not causal"):
            kind(3, 5, 4, 2, causal=True, norm="time_group_norm")


@pytest.mark.parametrize(("kernel", "stride", "groups"), [(4, 2, 1), (10, 5, 1), (5, 2, 1), (4, 2, 4), (9, 3, 1)])
@pytest.mark.parametrize("causal", [True, False])
def test_transposed_is_torchs_trimmed(kernel: int, stride: int, groups: int, causal: bool):
    torch.manual_seed(0)
    layer, x = ConvTranspose1d(4, 4, kernel, stride, groups, causal=causal).eval(), signal(4, 11)
    y = F.conv_transpose1d(x, layer.weight, layer.bias, stride, groups=groups)
    excess = kernel - stride
    left = 0 if causal else excess - excess // 2
    expected = y[..., left : left + 11 * stride]
    torch.testing.assert_close(layer(x), expected)
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)
    if causal:
        state, pieces = layer.initial_state(2), []
        for piece in x.split([1, 4, 0, 6], dim=-1):
            y, state = layer.step(piece, state)
            pieces.append(y)
        torch.testing.assert_close(torch.cat(pieces, dim=-1), expected)


@pytest.mark.parametrize("kind", [Conv1d, ConvTranspose1d])
def test_a_norm_counts_all_that_the_convolution_gives(kind: type):
    torch.manual_seed(0)
    layer, x = kind(4, 6, 4, 2, norm="time_group_norm").eval(), signal(4, 20)
    torch.nn.init.normal_(layer.norm.weight)
    raw = copy.deepcopy(layer)
    raw.norm = None
    if kind is ConvTranspose1d:
        expected = layer.norm(F.conv_transpose1d(x, layer.weight, layer.bias, 2))[..., 1:41]
    else:
        expected = layer.norm(raw(x))
    torch.testing.assert_close(layer(x), expected)
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)


def test_layers_that_are_made_in_inference_work_there():
    with torch.inference_mode():
        layer, x = build((3, 5, 3, 1, 1, 1)), signal(3, 20)
        assert torch.equal(layer(x), layer(x))


def test_an_activation_takes_any_shape():
    x = torch.randn(4, 7)
    with torch.inference_mode():
        torch.testing.assert_close(activation("elu", 4)(x), F.elu(x))


def test_new_weights_are_taken_at_once():
    layer, x = build((3, 5, 3, 1, 1, 1)), signal(3, 20)
    with torch.inference_mode():
        before = layer(x).clone()
    with torch.no_grad():
        layer.weight.mul_(2)
        layer.bias.mul_(2)
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), 2 * before)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("layer", [Conv1d(1, 1, 7, 2), Conv1d(1, 1, 3, 1, 4), ConvTranspose1d(1, 1, 10, 5)])
def test_spans_are_where_gradients_reach(layer: Conv1d | ConvTranspose1d, causal: bool):
    layer.causal = causal
    if isinstance(layer, Conv1d):
        layer.pad_mode = "constant"
    x = torch.randn(1, 1, 60, requires_grad=True)
    layer(x)[0, 0, 22:25].sum().backward()
    reached = x.grad[0, 0].nonzero()
    assert layer.span(22, 24) == (int(reached.min()), int(reached.max()))
