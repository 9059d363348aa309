"""The VAE's decoder: its shape, and a plain account of its attention."""

import pytest
import torch

from toneme.codecs.layers.vae import PointAttention, VAEConfig, VAEDecoder


@pytest.mark.parametrize("multiples", [(1,), (1, 2), (1, 2, 4)])
def test_latents_become_a_spectrogram_of_their_ratio(multiples: tuple[int, ...]):
    torch.manual_seed(0)
    config = VAEConfig(latents=2, width=32, multiples=multiples, blocks=1)
    vae, latents = VAEDecoder(config).eval(), torch.randn(2, 2, 6, 4)
    with torch.no_grad():
        mel = vae(latents)
        assert mel.shape == (2, 6 * config.ratio, 4 * config.ratio)
        torch.testing.assert_close(vae(latents[1:]), mel[1:], atol=1e-5, rtol=0)


def test_attention_is_a_weighted_mean_of_points():
    torch.manual_seed(0)
    layer, x = PointAttention(32), torch.randn(1, 32, 3, 2)
    with torch.no_grad():
        own = layer.norm(x)
        query, key, value = (part(own)[0].flatten(1) for part in (layer.query, layer.key, layer.value))
        weights = (query.T @ key / 32**0.5).softmax(-1)  # [points that look, points seen]
        expected = x + layer.out((value @ weights.T).reshape(1, 32, 3, 2))
        torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=0)
