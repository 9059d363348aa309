"""Diffusion's losses: v is what the codec's sampler takes apart, and noise is what v implies."""

import pytest
import torch

from toneme.codecs.layers.ddim import Schedule, ddim_step
from toneme.recipes.errors import RecipeError
from toneme.recipes.losses.diffusion import DiffusionLoss, diffuse


def test_the_sampler_finds_the_latents_behind_v():
    torch.manual_seed(0)
    latents, noise, signal = torch.randn(3, 2, 4, 4), torch.randn(3, 2, 4, 4), Schedule().signal()
    for time in (0, 300, 999):
        noisy, v = diffuse(latents, noise, signal[time].expand(3))
        torch.testing.assert_close(ddim_step(noisy, v, signal[time].item(), 1.0, 0.0, noise)[1], latents, atol=1e-4, rtol=1e-4)
    assert diffuse(latents, noise, signal[:1].expand(3))[0].sub(latents).abs().max() < 0.3


def test_losses_are_distances_of_v_and_of_noise():
    torch.manual_seed(0)
    latents, noise, off = (torch.randn(2, 2, 4, 4) for _ in range(3))
    signal = torch.tensor([0.9, 0.2])
    noisy, v = diffuse(latents, noise, signal)
    guess, share = v + 0.1 * off, signal.view(2, 1, 1, 1)
    implied = share.sqrt() * guess + (1 - share).sqrt() * noisy
    assert DiffusionLoss("v")(guess, v, signal).item() == pytest.approx((0.1 * off).square().mean().item(), rel=1e-4)
    assert DiffusionLoss("noise")(guess, v, signal).item() == pytest.approx((implied - noise).square().mean().item(), rel=1e-4)
    with pytest.raises(RecipeError, match="one of v, noise; got 'score'"):
        DiffusionLoss("score")
