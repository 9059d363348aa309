"""Moving codebooks: they find clusters, follow them, and bring dead codes back for good; on several machines alike."""

import subprocess
import sys

import pytest
import torch

from toneme.quantizers.euclidean import EuclideanVQ
from toneme.quantizers.residual import ResidualVQ


def clusters(n: int, centres: torch.Tensor, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    picked = torch.randint(len(centres), (n,), generator=generator)
    rows = centres[picked] + 0.01 * torch.randn(n, centres.shape[1], generator=generator)
    return rows.T[None]


def test_one_update_is_the_moving_average():
    quantizer = EuclideanVQ(2, 2, decay=0.9, revive_below=0.0)
    quantizer.codebooks.copy_(torch.tensor([[[0.0, 0.0], [10.0, 0.0]]]))
    quantizer.sums.copy_(quantizer.codebooks)
    quantizer(torch.tensor([[[1.0, 3.0, 11.0], [0.0, 0.0, 0.0]]]))
    assert torch.allclose(quantizer.counts, torch.tensor([[0.9 + 0.2, 0.9 + 0.1]]))
    assert torch.allclose(quantizer.codebooks[0, :, 0], torch.tensor([0.1 * 4 / 1.1, (9.0 + 0.1 * 11) / 1.0]))


def test_codebooks_stand_still_in_evaluation():
    quantizer = EuclideanVQ(4, 8).eval()
    before = quantizer.codebooks.clone()
    quantizer(torch.randn(1, 4, 100))
    assert torch.equal(before, quantizer.codebooks)


def dead_codes_after(updates: int, **options) -> int:
    torch.manual_seed(0)
    centres = 5 * torch.randn(16, 4)
    quantizer = EuclideanVQ(4, 16, decay=0.8, **options)
    quantizer.codebooks.copy_(100 + torch.randn(1, 16, 4))
    quantizer.codebooks[0, :2] = centres[:2]  # the others are too far to be chosen
    quantizer.sums.copy_(quantizer.codebooks)
    for step in range(updates):
        quantizer(clusters(400, centres, step))
    used = quantizer.eval()(clusters(2000, centres, 99)).codes.unique()
    return 16 - len(used)


def test_revival_puts_dead_codes_to_work():
    assert dead_codes_after(60) <= 2


def test_the_published_revival_has_no_effect():
    assert dead_codes_after(60, upstream_compat=True) == dead_codes_after(60, revive_below=0.0) == 14


def test_start_uses_every_code_at_every_stage():
    torch.manual_seed(0)
    quantizer = ResidualVQ(6, 32, 3)
    rows = torch.randn(2000, 6)
    quantizer.start(rows)
    result = quantizer.eval()(rows.T[None])
    assert (result.perplexity > 20).all()
    errors = [(quantizer.decode(result.codes[:, :d]) - rows.T[None]).square().mean() for d in (1, 2, 3)]
    assert errors[0] > 1.5 * errors[1] > 2 * errors[2]


def test_averages_start_as_the_codebooks_do():
    torch.manual_seed(0)
    quantizer, rows = ResidualVQ(6, 16, 2, decay=0.5, revive_below=0.0), torch.randn(1000, 6)
    quantizer.start(rows, iterations=40)
    before = quantizer.codebooks.clone()
    assert quantizer.counts.sum(1).tolist() == [1000, 1000]
    quantizer(rows.T[None])
    assert torch.allclose(quantizer.codebooks, before, atol=1e-3)  # k-means has settled


def test_usage_is_that_of_the_moving_average():
    quantizer = ResidualVQ(4, 4, 2, revive_below=0.5).eval()
    quantizer.counts.copy_(torch.tensor([[9.0, 1.0, 1.0, 1.0], [3.0, 3.0, 3.0, 3.0]]))
    assert quantizer(torch.zeros(1, 4, 5)).usage.tolist() == [0.25, 1.0]


def test_a_stage_that_coded_nothing_stands_still():
    quantizer = ResidualVQ(4, 8, 2)
    before = quantizer.codebooks[1].clone(), quantizer.counts[1].clone()
    quantizer(torch.randn(2, 4, 10), depths=torch.tensor([1, 1]))
    assert torch.equal(before[0], quantizer.codebooks[1])
    assert torch.equal(before[1], quantizer.counts[1])


def test_updates_do_not_depend_on_the_order_of_rows():
    torch.manual_seed(1)
    x = torch.randn(1, 4, 500)
    results = []
    for order in (torch.arange(500), torch.randperm(500)):
        torch.manual_seed(2)
        quantizer = EuclideanVQ(4, 8, revive_below=0.0)
        quantizer(x[:, :, order])
        results.append(quantizer.codebooks)
    assert torch.equal(*results)


@pytest.mark.parametrize("change", ["write", "replace", "load"])
def test_search_sees_every_change_of_the_codebooks(change):
    quantizer = EuclideanVQ(2, 2).eval()
    quantizer.codebooks.copy_(torch.tensor([[[0.0, 0.0], [1.0, 0.0]]]))
    x = torch.tensor([[[0.9], [0.0]]])
    assert quantizer.encode(x).item() == 1
    moved = torch.tensor([[[0.8, 0.0], [9.0, 0.0]]])
    if change == "write":
        quantizer.codebooks.copy_(moved)
    elif change == "replace":
        quantizer.codebooks = moved
    else:
        quantizer.load_state_dict({"codebooks": moved})
    assert quantizer.encode(x).item() == 0


ONE_OF_TWO = """
import sys, torch
from torch import distributed
from toneme.quantizers.euclidean import EuclideanVQ
rank, path, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
distributed.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
torch.manual_seed(0)
quantizer = EuclideanVQ(4, 16, decay=0.8)
quantizer.codebooks[0, 5] = quantizer.sums[0, 5] = 1000.0  # a dead code, to be revived on both
torch.manual_seed(10 + rank)
for _ in range(25):
    quantizer(3 * torch.randn(1, 4, 20 + 10 * rank))
torch.save(quantizer.codebooks, out)
distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_machines_keep_the_same_codebook(tmp_path):
    files = [tmp_path / f"{rank}.pt" for rank in range(2)]
    commands = [
        [sys.executable, "-P", "-c", ONE_OF_TWO, str(rank), str(tmp_path / "meet"), str(files[rank])] for rank in range(2)
    ]
    processes = [subprocess.Popen(command) for command in commands]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    a, b = (torch.load(file) for file in files)
    assert torch.equal(a, b)
    assert a.abs().amax() < 100
