"""The GPU's search for a few rows, codes split over programs, on a GPU or under the interpreter."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton exists on Linux only")

from toneme.kernels import rvq_encode_reference
from toneme.kernels.nearest import half_norms
from toneme.kernels.nearest_triton import encode
from toneme.kernels.split_triton import search_stages, takes


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_takes_few_rows():
    assert takes(16, 2048)
    assert not takes(300, 2048)
    assert not takes(16, 32768)


@pytest.mark.parametrize(
    ("N", "Q", "K", "D"), [(1, 1, 1, 1), (1, 4, 130, 20), (17, 3, 64, 33), (3, 2, 300, 8), (2, 3, 40, 300), (1, 1, 33, 520)]
)
def test_equals_the_definition(device, N, Q, K, D):
    x, codebooks = random(N, D).to(device), random(Q, K, D, seed=1).to(device)
    codes, doubts = search_stages(x, codebooks, half_norms(codebooks))
    assert torch.equal(codes, rvq_encode_reference(x, codebooks))
    assert not doubts.any() or K < 3
    again, _ = search_stages(x, codebooks, half_norms(codebooks))
    assert torch.equal(again, codes)


@pytest.mark.parametrize("step", [1, 40])  # of the copies: in the same share of the codes, and in others
def test_two_close_codes_are_settled_and_three_are_doubtful(device, step):
    codebook = random(90, 16)
    for copies in (2, 3):
        codebooks = codebook.clone()
        for copy in range(1, copies):
            codebooks[copy * step] = codebook[0] + 1e-7 * random(16, seed=copy)
        x, codebooks = (codebook[:1] + 0.01 * random(4, 16, seed=5)).to(device), codebooks[None].to(device)
        codes, doubts = search_stages(x, codebooks, half_norms(codebooks))
        assert doubts.bool().all() if copies == 3 else not doubts.any()
        expected = rvq_encode_reference(x, codebooks)
        assert copies == 3 or torch.equal(codes, expected)
        assert torch.equal(encode(x, codebooks, half_norms(codebooks)), expected)


def test_equal_codes_give_the_lowest_index(device):
    codebook = random(40, 16)
    codebooks = torch.cat([codebook, codebook])[None].to(device)
    codes = encode(random(7, 16, seed=3).to(device), codebooks, half_norms(codebooks))
    assert (codes < 40).all()


def test_values_that_are_not_finite_give_codes_in_range(device):
    x = random(5, 16)
    x[1], x[2] = torch.nan, torch.inf
    codebooks = random(2, 37, 16, seed=1).to(device)
    codes, doubts = search_stages(x.to(device), codebooks, half_norms(codebooks))
    assert ((codes >= 0) & (codes < 37)).all()
    assert doubts[1:3].bool().all()
