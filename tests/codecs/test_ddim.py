"""Sampling from a diffusion model: the schedule, single steps, and distributions that are known."""

import itertools

import pytest
import torch

from toneme.codecs.errors import CheckpointError, ShapeError
from toneme.codecs.layers.ddim import Sampling, Schedule, ddim_step, guided, sample

from .official import golden_case


def test_the_schedule_is_the_published_one():
    expected = golden_case("semanticodec_decoder_100", "step21_small")["alphas_cumprod_0_1_250_500_999"]
    signal = Schedule().signal()
    assert signal[[0, 1, 250, 500, 999]].tolist() == pytest.approx(expected.tolist(), rel=1e-5)
    assert Schedule().times(50) == list(range(981, 0, -20))
    assert Schedule().times(3) == [667, 334, 1]
    for steps in (0, 1000):
        with pytest.raises(CheckpointError, match=f"from 1 to 999 steps; got {steps}"):
            Schedule().times(steps)


def test_a_step_with_the_true_v_keeps_signal_and_noise():
    clean, noise = torch.randn(2, 3, 4, 5).double(), torch.randn(2, 3, 4, 5).double()
    now, before = 0.3, 0.6
    x, v = now**0.5 * clean + (1 - now) ** 0.5 * noise, now**0.5 * noise - (1 - now) ** 0.5 * clean
    earlier, found = ddim_step(x, v, now, before, 0.0, torch.zeros_like(x))
    torch.testing.assert_close(found, clean)
    torch.testing.assert_close(earlier, before**0.5 * clean + (1 - before) ** 0.5 * noise)


def test_a_full_step_is_the_posterior_of_the_diffusion():
    """With eta 1 a step is that of Ho et al., 2020, equations 6 and 7, for the clean latents that v implies."""
    x, v, noise = torch.randn(3, 2, 4, 4, 4).double().unbind()
    now, before = 0.3, 0.6
    earlier, clean = ddim_step(x, v, now, before, 1.0, noise)
    beta = 1 - now / before
    mean = (before**0.5 * beta * clean + (now / before) ** 0.5 * (1 - before) * x) / (1 - now)
    torch.testing.assert_close(earlier, mean + ((1 - before) / (1 - now) * beta) ** 0.5 * noise)


def test_the_last_step_ends_at_the_first_time():
    clean, start, signal = torch.randn(2, 3).double(), torch.randn(2, 3).double(), Schedule().signal()
    (time,), end = Schedule().times(1), signal[0]
    v = (signal[time].sqrt() * start - clean) / (1 - signal[time]).sqrt()
    added = (start - signal[time].sqrt() * clean) / (1 - signal[time]).sqrt()
    found = sample(lambda x, time: v, [start, torch.zeros(2, 3)], Schedule(), Sampling(steps=1, eta=0.0))
    torch.testing.assert_close(found, end.sqrt() * clean + (1 - end).sqrt() * added)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_samples_of_a_known_distribution(eta: float):
    """Data N(2, 0.5^2) has a v that is known: samples have its mean and spread."""
    signal = Schedule().signal().tolist()

    def predict(x: torch.Tensor, time: int) -> torch.Tensor:
        share, variance = signal[time], 0.25
        total = share * variance + 1 - share
        clean = 2 + share**0.5 * variance / total * (x - share**0.5 * 2)
        return (share**0.5 * x - clean) / (1 - share) ** 0.5

    drawn = Sampling(steps=500, eta=eta, seed=3)
    found = sample(predict, drawn.source(0, (1, 100, 100)), Schedule(), drawn)
    assert found.mean().item() == pytest.approx(2, abs=0.03)
    assert found.std().item() == pytest.approx(0.5, abs=0.03)


def test_guidance_pulls_in_proportion():
    def seen(x: torch.Tensor, time: int) -> torch.Tensor:
        return x + time

    def blind(x: torch.Tensor, time: int) -> torch.Tensor:
        return x

    assert guided(seen, blind, 2.0)(torch.ones(1), 3).item() == 7
    assert guided(seen, blind, 0.5)(torch.ones(1), 3).item() == 2.5
    assert guided(seen, blind, 1.0) is seen


def test_noise_is_taken_as_given_and_drawn_by_seed():
    parts = [torch.randn(1, 2, 2, 2) for _ in range(4)]
    given = Sampling(steps=3, noise=lambda number: parts if number == 5 else [])
    first, again = (sample(torch.mul, given.source(5, ()), Schedule(), given) for _ in range(2))
    assert torch.equal(first, again)
    with pytest.raises(ShapeError, match="3 steps need 4 tensors of noise"):
        sample(torch.mul, parts[:3], Schedule(), given)
    drawn = [next(iter(Sampling(seed=seed).source(number, (4,)))) for seed, number in itertools.product((0, 1), (0, 1))]
    assert len({tuple(part.flatten().tolist()) for part in drawn}) == 4
    assert torch.equal(drawn[1], next(iter(Sampling(seed=0).source(1, (4,)))))
