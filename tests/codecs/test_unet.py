"""The U-Net: outputs of the official code, a plain account of its attention, and what it may depend on."""

import numpy as np
import pytest
import torch

from toneme.codecs.layers.unet import SpatialTransformer, UNet, UNetConfig, embed_places, embed_time

SMALL = UNetConfig(latents=2, width=32, multiples=(1, 2), blocks=1, attends=(False, True), head=16, context=12)


@pytest.fixture(scope="module")
def unet() -> UNet:
    torch.manual_seed(0)
    return UNet(SMALL).eval()


def test_an_item_is_alone_in_its_batch(unet: UNet):
    x, sequence, time = torch.randn(3, 2, 8, 4), torch.randn(3, 5, 12), torch.tensor([1, 500, 999])
    with torch.no_grad():
        together = unet(x, time, unet.read(sequence))
        alone = [unet(x[i : i + 1], time[i : i + 1], unet.read(sequence[i : i + 1])) for i in range(3)]
    assert together.shape == x.shape
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)


def test_it_sees_time_and_sequence_in_any_order(unet: UNet):
    x, sequence = torch.randn(1, 2, 8, 4), torch.randn(1, 5, 12)
    with torch.no_grad():
        found, later, other, turned = (
            unet(x, torch.tensor([time]), unet.read(read))
            for time, read in ((10, sequence), (400, sequence), (10, -sequence), (10, sequence.flip(1)))
        )
    assert (found - later).abs().max() > 1e-3
    assert (found - other).abs().max() > 1e-3
    torch.testing.assert_close(found, turned, atol=1e-5, rtol=0)  # places are a matter of the sequence's own channels


def test_a_transformer_of_points_equals_torch_s_attention():
    torch.manual_seed(0)
    layer = SpatialTransformer(32, 16, 12).eval()
    x, sequence = torch.randn(2, 32, 3, 4), torch.randn(2, 5, 12)

    def attend(part, x, seen):
        found, _ = torch.nn.functional.multi_head_attention_forward(
            x.transpose(0, 1), seen.transpose(0, 1), seen.transpose(0, 1), 32, 2, None, torch.zeros(96), None, None, False, 0.0,
            part.out.weight, part.out.bias, training=False, use_separate_proj_weight=True, q_proj_weight=part.query.weight,
            k_proj_weight=part.key.weight, v_proj_weight=part.value.weight,
        )  # fmt: skip
        return found.transpose(0, 1)

    with torch.no_grad():
        y = layer.enter(layer.norm(x)).flatten(2).transpose(1, 2)
        y = y + attend(layer.attention1, layer.norm1(y), layer.norm1(y))
        y = y + attend(layer.attention2, layer.norm2(y), sequence)
        value, gate = layer.widen(layer.norm3(y)).split(128, dim=-1)
        y = y + layer.narrow(value * torch.nn.functional.gelu(gate))
        expected = x + layer.leave(y.transpose(1, 2).reshape(2, 32, 3, 4))
        torch.testing.assert_close(layer(x, layer.attention2.read(sequence)), expected, atol=1e-5, rtol=0)


def test_times_and_places_are_sines():
    time = embed_time(torch.tensor([0, 3]), 4)
    np.testing.assert_allclose(time, [[1, 1, 0, 0], [np.cos(3), np.cos(0.03), np.sin(3), np.sin(0.03)]], atol=1e-6)
    places = embed_places(4, 4)
    np.testing.assert_allclose(places[3], [np.sin(3), np.cos(3), np.sin(0.03), np.cos(0.03)], atol=1e-6)


@pytest.mark.parametrize(("context", "millions"), [(1728, 75.0), (3264, 85.9), (6336, 107.5)])
def test_published_ones_are_of_the_published_sizes(context: int, millions: float):
    with torch.device("meta"):
        model = UNet(UNetConfig(context=context))
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, rel=2e-3)
