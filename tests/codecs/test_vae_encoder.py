"""The VAE's encoder: `diffusers`' with the same random weights, the names of the published checkpoint, and its draws."""

import pytest
import torch

from toneme.codecs.layers.audioldm_names import vae_encoder_names
from toneme.codecs.layers.vae import VAEConfig
from toneme.codecs.layers.vae_encoder import Posterior, VAEEncoder

from .official import golden_spec

SMALL = VAEConfig(latents=2, width=32, multiples=(1, 2, 4), blocks=3)


def in_diffusers(name: str) -> str:
    """Return `diffusers`' name of a weight in AudioLDM's checkpoint."""
    for theirs, other in (
        ("encoder.mid.block_1", "encoder.mid_block.resnets.0"), ("encoder.mid.block_2", "encoder.mid_block.resnets.1"),
        ("encoder.mid.attn_1", "encoder.mid_block.attentions.0"), ("encoder.norm_out", "encoder.conv_norm_out"),
        ("encoder.down.", "encoder.down_blocks."), (".block.", ".resnets."), (".downsample.", ".downsamplers.0."),
        ("nin_shortcut", "conv_shortcut"), ("attentions.0.norm.", "attentions.0.group_norm."),
        ("attentions.0.q.", "attentions.0.to_q."), ("attentions.0.k.", "attentions.0.to_k."),
        ("attentions.0.v.", "attentions.0.to_v."), ("attentions.0.proj_out.", "attentions.0.to_out.0."),
    ):  # fmt: skip
        name = name.replace(theirs, other)
    return name


def test_the_posterior_is_that_of_diffusers():
    diffusers = pytest.importorskip("diffusers", reason="the peer of the VAE's encoder: pip install diffusers")
    torch.manual_seed(0)
    theirs = diffusers.AutoencoderKL(
        1, 1, ("DownEncoderBlock2D",) * 3, ("UpDecoderBlock2D",) * 3, (32, 64, 128), layers_per_block=2, latent_channels=2
    ).eval()
    ours, weights = VAEEncoder(SMALL).eval(), theirs.state_dict()
    with torch.no_grad():
        for name, other in vae_encoder_names(ours).items():
            ours.get_parameter(name).copy_(weights[in_diffusers(other)].view(ours.get_parameter(name).shape))
        mel = torch.randn(2, 16, 8)
        found, expected = ours(mel), theirs.encode(mel[:, None]).latent_dist
    torch.testing.assert_close(found.mean, expected.mean, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.log_variance, expected.logvar, atol=1e-5, rtol=1e-4)


def test_the_published_checkpoint_has_its_weights_and_no_others():
    with torch.device("meta"):
        model = VAEEncoder(VAEConfig())
    names = vae_encoder_names(model)
    published = {
        name.removeprefix("first_stage_model."): tuple(shape)
        for name, shape, _ in golden_spec("semanticodec_decoder_100")["full_key_list"]
        if name.startswith(("first_stage_model.encoder.", "first_stage_model.quant_conv."))
    }
    assert {theirs: tuple(model.get_parameter(ours).shape) for ours, theirs in names.items()} == published


def test_draws_have_the_mean_and_variance():
    torch.manual_seed(0)
    drawn = Posterior(torch.full((20000,), 3.0), torch.full((20000,), 2.0).log()).sample()
    assert drawn.mean().item() == pytest.approx(3, abs=0.05)
    assert drawn.var().item() == pytest.approx(2, rel=0.05)


def test_variances_stay_where_their_exponentials_do():
    encoder = VAEEncoder(SMALL)
    with torch.no_grad():
        encoder.spread.weight.zero_()
        encoder.spread.bias.copy_(torch.tensor([0.0, 0.0, 500.0, -500.0]))
        found = encoder(torch.zeros(1, 16, 8)).log_variance
    assert (found[:, 0].unique().tolist(), found[:, 1].unique().tolist()) == ([20.0], [-30.0])  # as published


def test_a_level_has_a_block_at_least():
    assert VAEEncoder(VAEConfig(latents=2, width=32, multiples=(1, 2), blocks=1)).blocks == 1
