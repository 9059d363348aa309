"""What every discriminator promises: any length, gradients that reach waveform and weights, one batch for real and fake."""

import pytest
import torch

from toneme.recipes.discriminators import build_discriminator, judge_both, judge_for_generator
from toneme.recipes.discriminators.base import frozen
from toneme.recipes.errors import RecipeError
from toneme.recipes.losses import discriminator_loss, generator_loss

SMALL = [
    {"name": "multi_period", "periods": [2, 7], "widths": [4, 8, 8]},
    {"name": "multi_scale", "scales": 2, "divide": 32},
    {"name": "multi_scale_stft", "windows": [128], "width": 4},
    {"name": "multi_band", "windows": [128], "width": 2},
    {"name": "multi_frequency", "hops": [32], "widths": [32]},
    {"name": "multi_resolution", "windows": [128], "width": 4},
    {"name": "multi_spectrogram", "windows": [78], "width": 4, "widest": 8},
]


def noise(samples: int, channels: int = 1, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(2, channels, samples, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=SMALL, ids=lambda entry: entry["name"])
def entry(request) -> dict:
    return request.param


@pytest.mark.parametrize("samples", [1, 100, 1001])
def test_any_length_is_judged(entry, samples):
    for score, maps in build_discriminator([entry], sample_rate=24000)(noise(samples)):
        assert score.isfinite().all()
        assert score.shape[:2] == (2, 1)
        assert len(maps) >= 3


def test_stereo_is_judged(entry):
    judged = build_discriminator([entry], sample_rate=24000, channels=2)(noise(1000, channels=2))
    assert all(score.isfinite().all() for score, _ in judged)


def test_gradients_reach_waveform_and_every_weight(entry):
    discriminator, fake = build_discriminator([entry], sample_rate=24000), noise(1001).requires_grad_()
    real, judged = discriminator(noise(1001, seed=1)), discriminator(fake)
    (2 * generator_loss(judged) + discriminator_loss(real, judged)).backward()  # one of each cancel where neither is sure
    assert fake.grad.isfinite().all()
    assert fake.grad.abs().max() > 0
    for name, weight in discriminator.named_parameters():
        assert weight.grad.isfinite().all(), name
    reached = [bool(weight.grad.any()) for weight in discriminator.parameters()]
    assert sum(reached) > 0.9 * len(reached)


def test_gradients_at_silence_are_finite(entry):
    fake = torch.zeros(1, 1, 1000, requires_grad=True)
    generator_loss(build_discriminator([entry], sample_rate=24000)(fake)).backward()
    assert fake.grad.isfinite().all()


def test_one_batch_for_both_judges_as_two(entry):
    discriminator = build_discriminator([entry], sample_rate=24000).eval()
    real, fake = noise(1001), noise(1001, seed=1).requires_grad_()
    both = judge_both(discriminator, real, fake)
    for waveform, judged in zip((real, fake), both, strict=True):
        for (score, maps), (alone, maps_alone) in zip(judged, discriminator(waveform), strict=True):
            torch.testing.assert_close(score, alone, rtol=1e-4, atol=1e-5)
            for ours, theirs in zip(maps, maps_alone, strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    discriminator_loss(*both).backward()
    assert fake.grad is None


def test_the_generators_step_leaves_weights_alone(entry):
    discriminator, fake = build_discriminator([entry], sample_rate=24000), noise(1001).requires_grad_()
    real, judged = judge_for_generator(discriminator, noise(1001, seed=1), fake)
    generator_loss(judged).backward()
    assert fake.grad.abs().max() > 0
    assert all(weight.grad is None and weight.requires_grad for weight in discriminator.parameters())
    assert not any(score.requires_grad for score, _ in real)


def test_spectra_stay_in_float32_under_autocast(entry):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        judged = build_discriminator([entry], sample_rate=24000)(noise(1001).bfloat16())
    assert all(score.isfinite().all() for score, _ in judged)


def test_frozen_gives_back_what_was_trained_only():
    layer = torch.nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    with frozen(layer):
        assert not layer.weight.requires_grad
    assert layer.weight.requires_grad
    assert not layer.bias.requires_grad


@pytest.mark.parametrize(
    ("asked", "settings", "told"),
    [
        ("nothing", {}, "no discriminator"),
        ([{"name": "multi_period", "depth": 3}], {}, "no setting depth"),
        ("multi_frequency", {}, "needs sample_rate"),
        ("dac", {"width": 3}, "belong into its entries"),
        ([], {}, "no discriminator"),
    ],
)
def test_what_cannot_be_built_is_told(asked, settings, told):
    with pytest.raises(RecipeError, match=told):
        build_discriminator(asked, **settings)


def test_published_sets_nest():
    assert len(build_discriminator(["encodec", "xcodec"], sample_rate=16000)(noise(100))) == 5 + 6
