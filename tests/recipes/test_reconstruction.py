"""Losses by the names of a recipe."""

import pytest
import torch

from toneme.recipes.errors import RecipeError
from toneme.recipes.reconstruction import Reconstruction


def test_losses_have_names_weights_and_the_sample_rate():
    part = Reconstruction({"far": {"name": "l1", "weight": 2}, "l2": {}, "mel_vocos": {"weight": 45}}, 24000)
    ones = torch.ones(2, 1, 4000)
    found = part(ones, 0 * ones)
    assert part.weights == {"far": 2.0, "l2": 1.0, "mel_vocos": 45.0}
    assert (found["far"].item(), found["l2"].item()) == (1.0, 1.0)


def test_unknown_losses_and_settings_are_refused():
    with pytest.raises(RecipeError, match=r"losses\.mell: there is no loss 'mell'"):
        Reconstruction({"mell": {}}, 24000)
    with pytest.raises(RecipeError, match="cannot be built"):
        Reconstruction({"l1": {"widow": 3}}, 24000)


def test_a_loss_of_some_domains_leaves_the_items_of_others_alone():
    part = Reconstruction({"l1": {"domains": ["speech", "song"]}, "l2": {}}, 24000)
    estimate = torch.arange(1.0, 5.0)[:, None, None].expand(4, 1, 10).clone().requires_grad_()
    found = part(estimate, 0 * estimate, ["speech", "music", "song", ""])
    assert found["l1"].item() == pytest.approx((1 + 3) / 4)
    assert found["l2"].item() == pytest.approx((1 + 4 + 9 + 16) / 4)
    found["l1"].backward()
    torch.testing.assert_close(estimate.grad[:, 0, 0], torch.tensor([1.0, 0.0, 1.0, 0.0]) / 40)


def test_a_batch_without_such_an_item_has_a_loss_of_zero():
    part = Reconstruction({"perceptual": {"domains": ["speech"]}}, 24000)
    estimate = torch.randn(2, 1, 2400, requires_grad=True)
    found = part(estimate, torch.randn(2, 1, 2400), ["music", ""])["perceptual"]
    found.backward()
    assert found.item() == 0
    assert not estimate.grad.any()


def test_domains_must_be_names_of_some_that_the_data_have():
    for told in ("speech", [], [1]):
        with pytest.raises(RecipeError, match=r"losses\.l1\.domains must be names"):
            Reconstruction({"l1": {"domains": told}}, 24000)
    part = Reconstruction({"l1": {"domains": ["speech"]}}, 24000)
    part.check_domains({"speech", ""})
    with pytest.raises(RecipeError, match=r"losses\.l1\.domains are speech, and those of the data are: music"):
        part.check_domains({"music", ""})
