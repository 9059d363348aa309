"""Adversarial training: one pass serves both sides, and each side's gradient is what a pass of its own would give."""

import pytest
import torch

from toneme.recipes.critics import Critics
from toneme.recipes.discriminators import judge_both, judge_for_generator
from toneme.recipes.losses.adversarial import discriminator_loss, feature_matching, generator_loss
from toneme.recipes.recipe import AdversarialSettings


def critics(share: float = 1.0) -> Critics:
    torch.manual_seed(0)
    parts = {"multi_scale_stft": {"windows": [256], "width": 4}, "multi_period": {"widths": [4, 4], "periods": [2, 3]}}
    return Critics(AdversarialSettings(parts, weight=2.0, feature_weight=3.0, share=share), 24000, 1)


def audio() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 1, 4000, generator=generator), torch.randn(2, 1, 4000, generator=generator).requires_grad_()


def test_both_gradients_of_one_pass_are_those_of_two():
    ours, theirs = critics(), critics()
    real, fake = audio()
    judged = ours.judge(real, fake)
    terms = ours.fooling(*judged)
    total = sum(ours.shares[name] * loss for name, loss in terms.items())
    (for_codec,) = torch.autograd.grad(total, fake, retain_graph=True)
    assert all(p.grad is None for p in ours.weights())
    ours.learn(*judged, share=0.5)

    judgements = judge_for_generator(theirs.discriminators, real, fake)
    expected = 2 * generator_loss(judgements[1]) + 3 * feature_matching(*judgements)
    torch.testing.assert_close(for_codec, torch.autograd.grad(expected, fake)[0], atol=1e-6, rtol=1e-3)
    (0.5 * discriminator_loss(*judge_both(theirs.discriminators, real, fake))).backward()
    for mine, yours in zip(ours.weights(), theirs.weights(), strict=True):
        torch.testing.assert_close(mine.grad, yours.grad, atol=1e-5, rtol=1e-3)
    assert fake.grad is None


def test_a_discriminator_may_have_a_kind_and_a_weight_of_its_own():
    """As WavTokenizer's: Vocos' by means and hinge, DAC's by sums and squares."""
    parts = {"vocos": {"name": "multi_period", "widths": [4, 4], "periods": [2, 3], "weight": 0.5},
             "dac": {"name": "multi_period", "widths": [4, 4], "periods": [5, 7], "kind": "least_squares"}}  # fmt: skip
    own = Critics(AdversarialSettings(parts, kind="hinge", reduce="sum", features="plain"), 24000, 1)
    real, fake = audio()
    first, second = ((member(real), member(fake)) for member in own.discriminators.members)
    terms = own.fooling(*own.judge(real, fake))
    torch.testing.assert_close(
        terms["adversarial"], generator_loss(first[1], "hinge", "mean") + generator_loss(second[1], "least_squares", "sum")
    )
    matched = feature_matching(*first, "plain") / 2 + feature_matching(*second, "plain")
    torch.testing.assert_close(terms["features"], matched)
    told = discriminator_loss(*first, "hinge", "mean") + discriminator_loss(*second, "least_squares", "sum")
    assert own.learn(*own.judge(real, fake)) == pytest.approx(told.item(), rel=1e-6)


def test_discriminators_learn_in_their_share_of_steps():
    part = critics(0.7)
    torch.manual_seed(1)
    assert abs(sum(part.draw() for _ in range(2000)) / 2000 - 0.7) < 0.04
    assert all(critics().draw() for _ in range(3))
