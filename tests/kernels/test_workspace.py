"""The two-level maximum of a chunk of rows."""

import pytest
import torch

from toneme.kernels.nearest import half_norms
from toneme.kernels.workspace import block_size, buffers, encode_residual


@pytest.mark.parametrize("way", [encode_residual, encode_residual.function], ids=["compiled", "Python"])
@pytest.mark.parametrize("K", [2, 16, 50, 64, 1024])
def test_finds_the_two_greatest_scores(K, way):
    generator = torch.Generator().manual_seed(K)
    x, codebooks = torch.randn(9, 5, generator=generator), torch.randn(2, K, 5, generator=generator)
    half = half_norms(codebooks)
    work, codes = buffers(9, 2, K, 5), torch.empty((2, 9), dtype=torch.int64)
    way(x, codebooks, -half, work, codes)
    for stage in range(2):
        top, places = torch.addmm(-half[stage], x, codebooks[stage].T).topk(2, 1)
        assert torch.equal(codes[stage], places[:, 0])
        assert torch.allclose(work.best[stage], top[:, 0], atol=1e-5)
        assert torch.allclose(work.second[stage], top[:, 1], atol=1e-5)
        assert torch.allclose(work.norm[stage], x.norm(dim=1))
        x = x - codebooks[stage][codes[stage]]


def test_one_code_has_no_runner_up():
    x, codebooks = torch.randn(3, 4), torch.randn(1, 1, 4)
    work, codes = buffers(3, 1, 1, 4), torch.empty((1, 3), dtype=torch.int64)
    encode_residual(x, codebooks, -half_norms(codebooks), work, codes)
    assert not codes.any()
    assert (work.second == -torch.inf).all()


def test_blocks_are_about_as_large_as_there_are_many():
    assert block_size(1024) == 64
    assert block_size(1) == 16
