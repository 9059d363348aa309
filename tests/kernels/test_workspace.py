"""The two-level maximum of a chunk of rows."""

import pytest
import torch

from toneme.kernels.nearest import half_norms
from toneme.kernels.workspace import Books, Workspace, block_size


@pytest.mark.parametrize("K", [2, 16, 50, 64, 1024])
def test_finds_the_two_greatest_scores(K):
    generator = torch.Generator().manual_seed(K)
    x, codebooks = torch.randn(9, 5, generator=generator), torch.randn(2, K, 5, generator=generator)
    half = half_norms(codebooks)
    work, code = Workspace(9, 2, K, 5, x), torch.empty(9, dtype=torch.int64)
    for stage in range(2):
        work.search(x, Books(codebooks, half), stage, code)
        top, places = torch.addmm(-half[stage], x, codebooks[stage].T).topk(2, 1)
        assert torch.equal(code, places[:, 0])
        assert torch.allclose(work.best[stage], top[:, 0], atol=1e-5)
        assert torch.allclose(work.second[stage], top[:, 1], atol=1e-5)


def test_one_code_has_no_runner_up():
    x, codebooks = torch.randn(3, 4), torch.randn(1, 1, 4)
    work, code = Workspace(3, 1, 1, 4, x), torch.empty(3, dtype=torch.int64)
    work.search(x, Books(codebooks, half_norms(codebooks)), 0, code)
    assert not code.any()
    assert (work.second == -torch.inf).all()


def test_blocks_are_about_as_large_as_there_are_many():
    assert block_size(1024) == 64
    assert block_size(1) == 16
