"""The average of weights: its first steps, its decay, and buffers that are the model's own."""

import torch
from torch import nn

from toneme.recipes.average import Average


def test_the_average_follows_slower_as_the_run_goes_on():
    model = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(model.weight)
    average = Average(model, 0.9)
    nn.init.ones_(model.weight)
    average.follow(0)
    assert torch.allclose(average.weights["weight"], torch.tensor(0.9))
    average.follow(100_000)
    assert torch.allclose(average.weights["weight"], torch.tensor(0.91))


def test_buffers_are_the_models_own_at_the_moment():
    model = nn.BatchNorm1d(2)
    average = Average(model, 0.9)
    model.running_mean.fill_(7)
    assert torch.equal(average.state_dict()["running_mean"], torch.full((2,), 7.0))


def test_frozen_weights_are_left_out():
    model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1).requires_grad_(False))
    assert set(Average(model, 0.9).weights) == {"0.weight", "0.bias"}
