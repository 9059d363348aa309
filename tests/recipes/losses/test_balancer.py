"""The balancer's proportions, its state, and its norms over two processes."""

import subprocess
import sys

import pytest
import torch

from toneme.recipes.errors import RecipeError
from toneme.recipes.losses import Balancer


def losses(output: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"small": 1e-3 * output.sum(), "large": -50 * output.sum()}


def test_shares_do_not_depend_on_scales():
    leaf = torch.ones(2, 1, 8, requires_grad=True)
    output = leaf * 1.0
    Balancer({"small": 3.0, "large": 1.0}, total_norm=2.0).backward(losses(output), output)
    # each gradient has norm 1 per item after division, over 8 equal entries; shares 3/4 and -1/4 of 2
    torch.testing.assert_close(leaf.grad, torch.full_like(leaf, 2 * (0.75 - 0.25) / 8**0.5))


def test_without_balance_it_is_the_weighted_sum():
    leaf = torch.ones(2, 1, 8, requires_grad=True)
    output = leaf * 1.0
    effective = Balancer({"small": 3.0, "large": 1.0}, balance=False).backward(losses(output), output)
    torch.testing.assert_close(leaf.grad, torch.full_like(leaf, 3e-3 - 50))
    assert effective.item() == pytest.approx(16 * (3e-3 - 50))


def test_a_resumed_balancer_goes_on_where_it_stood():
    def step(balancer: Balancer, seed: int) -> torch.Tensor:
        leaf = torch.randn(2, 1, 8, generator=torch.Generator().manual_seed(seed)).requires_grad_()
        output = leaf * 1.0
        balancer.backward({"small": output.square().sum(), "large": output.abs().sum()}, output)
        return leaf.grad

    whole, first = Balancer({"small": 1.0, "large": 1.0}), Balancer({"small": 1.0, "large": 1.0})
    step(whole, 0), step(first, 0)
    resumed = Balancer({"small": 1.0, "large": 1.0})
    resumed.load_state_dict(first.state_dict())
    assert step(whole, 1).equal(step(resumed, 1))


def test_what_has_no_weight_is_told():
    with pytest.raises(RecipeError, match="no weight for large"):
        Balancer({"small": 1.0}).backward(losses(torch.ones(1, 1, 1, requires_grad=True)), torch.ones(1))
    with pytest.raises(RecipeError, match="not negative"):
        Balancer({"small": -1.0})


ONE_OF_TWO = """
import sys, torch
from torch import distributed
from toneme.recipes.losses.balancer import Balancer
rank, path = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
leaf = torch.full((1 + 2 * rank, 1, 4), 1.0 + rank, requires_grad=True)
output = leaf * 1.0
balancer = Balancer({"square": 1.0})
balancer.backward({"square": 0.5 * output.square().sum()}, output)
print(leaf.grad.flatten()[0].item(), balancer.state_dict()["sums"]["square"])
distributed.destroy_process_group()
"""


def test_norms_are_averaged_over_processes_by_their_items(tmp_path):
    command = [sys.executable, "-P", "-c", ONE_OF_TWO]
    ranks = [[*command, str(rank), str(tmp_path / "meet")] for rank in (0, 1)]
    runs = [subprocess.Popen(rank, stdout=subprocess.PIPE, text=True) for rank in ranks]
    found = [[float(number) for number in run.communicate()[0].split()] for run in runs]
    norm = (1 * 2.0 + 3 * 4.0) / 4  # the one item of one process has norm 2, three of the other have 4
    # the state as well, since only that of the first process is kept, and all resume from it
    assert found == [pytest.approx([1 / norm, norm]), pytest.approx([2 / norm, norm])]
