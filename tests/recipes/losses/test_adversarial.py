"""Adversarial losses and feature matching by hand."""

import pytest
import torch

from toneme.recipes.errors import RecipeError
from toneme.recipes.losses import discriminator_loss, feature_matching, generator_loss

REAL = [
    (torch.tensor([2.0, 0.5]), [torch.tensor([1.0, -3.0]), torch.tensor([4.0])]),
    (torch.tensor([1.0]), [torch.tensor([0.5])]),
]
FAKE = [
    (torch.tensor([0.0, -2.0]), [torch.tensor([0.0, -1.0]), torch.tensor([1.0])]),
    (torch.tensor([3.0]), [torch.tensor([0.0])]),
]


@pytest.mark.parametrize(
    ("kind", "generator", "discriminator"),
    [("hinge", 2.0, (0.25 + 0.5) + 4.0), ("hinge_linear", 1.0 - 3.0, 4.75), ("least_squares", 5.0 + 4.0, (0.625 + 2.0) + 9.0)],
)
def test_scores_count_as_by_hand(kind, generator, discriminator):
    assert generator_loss(FAKE, kind, "sum").item() == pytest.approx(generator)
    assert generator_loss(FAKE, kind, "mean").item() == pytest.approx(generator / 2)
    assert discriminator_loss(REAL, FAKE, kind, "sum").item() == pytest.approx(discriminator)
    assert discriminator_loss(REAL, FAKE, kind).item() == pytest.approx(discriminator / 2)


@pytest.mark.parametrize(("kind", "value"), [("plain", 1.5 + 3 + 0.5), ("mean", 5 / 3), ("relative", (0.75 + 0.75 + 1) / 3)])
def test_features_match_as_by_hand(kind, value):
    assert feature_matching(REAL, FAKE, kind).item() == pytest.approx(value)


def test_features_of_the_target_are_held_fixed():
    real, fake = torch.ones(3, requires_grad=True), torch.zeros(3, requires_grad=True)
    feature_matching([(real, [real])], [(fake, [fake])]).backward()
    assert real.grad is None
    assert fake.grad.tolist() == pytest.approx([-1 / 3] * 3)


def test_kinds_that_do_not_exist_are_told():
    for call in (
        lambda: generator_loss(FAKE, "wasserstein"),
        lambda: discriminator_loss(REAL, FAKE, "hinge", "median"),
        lambda: feature_matching(REAL, FAKE, "l2"),
    ):
        with pytest.raises(RecipeError):
            call()
