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
