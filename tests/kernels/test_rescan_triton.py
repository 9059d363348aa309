"""The GPU's second look at doubtful rows, on a GPU or under the interpreter: what PyTorch's gives, from any earlier codes."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton exists on Linux only")

from toneme.kernels import rvq_encode_reference
from toneme.kernels.nearest import half_norms
from toneme.kernels.rescan_triton import ROWS, settle_doubts, takes


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def bits(*stages: int) -> int:
    """A row's doubts."""
    return sum(1 << stage if stage < 63 else -(1 << 63) for stage in stages)


@pytest.mark.parametrize(("N", "Q", "K", "D"), [(1, 1, 1, 1), (ROWS + 3, 3, 37, 20), (5, 2, 300, 8), (3, 2, 9, 1000)])
def test_all_in_doubt_gives_the_definition(device, N, Q, K, D):
    assert takes(D)
    x, codebooks = random(N, D).to(device), random(Q, K, D, seed=1).to(device)
    wrong, doubts = torch.full((Q, N), K - 1, device=device), torch.full((N,), -1, device=device)
    codes = settle_doubts(x, codebooks, half_norms(codebooks), wrong.T, doubts)
    assert torch.equal(codes, rvq_encode_reference(x, codebooks))
    assert torch.equal(wrong.T, codes), "in place"


def test_a_stage_in_doubt_is_settled_and_what_follows_from_it(device):
    x, codebooks = random(6, 12).to(device), random(4, 33, 12, seed=1).to(device)
    right = rvq_encode_reference(x, codebooks)
    codes = right.clone()
    codes[1:4, 1] = (codes[1:4, 1] + 1) % 33
    codes[1, 3] = (codes[1, 3] + 1) % 33  # in no doubt, but after a code that changes
    codes[4, 2] = (codes[4, 2] + 1) % 33  # in no doubt, and after one that stays
    expected = codes.clone()
    expected[1:3] = right[1:3]
    doubts = torch.tensor([0, bits(1), bits(1, 3), 0, bits(0), bits(3)], device=device)
    assert torch.equal(settle_doubts(x, codebooks, half_norms(codebooks), codes, doubts), expected)


def test_stages_beyond_the_bits_share_them(device):
    x, codebooks = random(3, 3).to(device), random(66, 4, 3, seed=1).to(device) * 0.5
    right = rvq_encode_reference(x, codebooks)
    for stage in (63, 64, 65):
        codes = right.clone()
        codes[:, stage] = (codes[:, stage] + 1) % 4
        doubts = torch.full((3,), bits(stage % 64), device=device)
        assert torch.equal(settle_doubts(x, codebooks, half_norms(codebooks), codes, doubts), right)


def test_equal_codes_give_the_lowest_index(device):
    codebook = random(40, 16)
    codebooks = torch.cat([codebook, codebook, codebook])[None].to(device)
    codes, doubts = torch.full((50, 1), 119, device=device), torch.ones(50, dtype=torch.int64, device=device)
    assert (settle_doubts(random(50, 16, seed=3).to(device), codebooks, half_norms(codebooks), codes, doubts) < 40).all()


def test_zero_half_norms_search_for_the_greatest_cosine(device):
    unit = (
        torch.nn.functional.normalize(random(1, 50, 16), dim=2).to(device) * torch.linspace(0.5, 2, 50, device=device)[:, None]
    )
    x = random(40, 16, seed=1).to(device)
    codes, doubts = torch.zeros(40, 1, dtype=torch.int64, device=device), torch.ones(40, dtype=torch.int64, device=device)
    codes = settle_doubts(x, unit, torch.zeros(1, 50, device=device), codes, doubts)
    assert torch.equal(codes[:, 0], (x.double() @ unit[0].double().T).argmax(1))


def test_values_that_are_not_finite_give_codes_in_range(device):
    x, codebooks = random(5, 16), random(2, 37, 16, seed=1).to(device)
    x[1], x[2], x[3, 5] = torch.nan, torch.inf, -torch.inf
    codes, doubts = torch.zeros(5, 2, dtype=torch.int64, device=device), torch.full((5,), 3, device=device)
    codes = settle_doubts(x.to(device), codebooks, half_norms(codebooks), codes, doubts)
    assert ((codes >= 0) & (codes < 37)).all()
