"""The GPU's search, on a GPU or under the interpreter: every code, and every doubt, against the definition."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton exists on Linux only")

from toneme.kernels import rvq_encode_reference
from toneme.kernels.nearest import half_norms
from toneme.kernels.nearest_triton import product_error, search_many, split
from toneme.kernels.rescan_triton import settle_doubts


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def encode(x: torch.Tensor, codebooks: torch.Tensor, half: torch.Tensor) -> torch.Tensor:
    """As `nearest_triton.encode`, which searches so few rows in another way."""
    return settle_doubts(x, codebooks, half, *search_many(x, codebooks, half))


SHAPES = [(1, 1, 1, 16), (50, 3, 64, 16), (33, 3, 37, 20), (130, 2, 130, 8), (3, 2, 3, 128), (20, 2, 70, 300), (17, 1, 65, 257)]


@pytest.mark.parametrize(("N", "Q", "K", "D"), SHAPES)
def test_equals_the_definition(device, N, Q, K, D):
    x, codebooks = random(N, D).to(device), random(Q, K, D, seed=1).to(device)
    expected = rvq_encode_reference(x, codebooks)
    codes, doubts = search_many(x, codebooks, half_norms(codebooks))
    doubtful = doubts != 0
    assert torch.equal(codes[~doubtful], expected[~doubtful])
    assert doubtful.float().mean() < 0.2
    assert torch.equal(encode(x, codebooks, half_norms(codebooks)), expected)


@pytest.mark.parametrize("D", [16, 300])
def test_two_close_codes_are_settled_and_three_are_doubtful(device, D):
    codebook = random(40, D)
    near = codebook + 1e-7 * random(40, D, seed=1)
    x = (codebook[:30] + 0.01 * random(30, D, seed=2)).to(device)
    for copies in (2, 3):
        codebooks = torch.cat([codebook, near, near + 1e-7][:copies])[None].contiguous().to(device)
        codes, doubts = search_many(x, codebooks, half_norms(codebooks))
        doubtful = doubts != 0
        assert doubtful.all() if copies == 3 else not doubtful.any()
        expected = rvq_encode_reference(x, codebooks)
        assert torch.equal(codes[~doubtful], expected[~doubtful])
        assert torch.equal(encode(x, codebooks, half_norms(codebooks)), expected)


def test_equal_codes_give_the_lowest_index(device):
    codebook = random(40, 16)
    codebooks = torch.cat([codebook, codebook, codebook])[None].to(device)
    codes = encode(random(60, 16, seed=3).to(device), codebooks, half_norms(codebooks))
    assert (codes < 40).all()


def test_zero_half_norms_search_for_the_greatest_cosine(device):
    unit = torch.nn.functional.normalize(random(1, 50, 16), dim=2).to(device)
    x = random(40, 16, seed=1).to(device)
    expected = (x.double() @ unit[0].double().T).argmax(1)
    assert torch.equal(encode(x, unit, torch.zeros(1, 50, device=device))[:, 0], expected)


def test_values_that_are_not_finite_give_codes_in_range(device):
    x = random(5, 16)
    x[1], x[2] = torch.nan, torch.inf
    codebooks = random(2, 37, 16, seed=1).to(device)
    codes = encode(x.to(device), codebooks, half_norms(codebooks))
    assert ((codes >= 0) & (codes < 37)).all()


@pytest.mark.parametrize("D", [16, 128, 512])
def test_split_products_stay_within_their_error(D):
    x, codebook = random(300, D) * torch.logspace(-3, 3, 300)[:, None], random(200, D, seed=1)
    (a, b), (c, d) = split(x), split(codebook)
    product = sum(u.double() @ v.double().T for u, v in ((a, d), (b, c), (a, c)))
    error = (product - x.double() @ codebook.double().T).abs()
    # the sums here are exact: this is the part of the bound that comes from splitting
    assert (error <= 3.01 * 2.0**-18 * x.norm(dim=1)[:, None] * codebook.norm(dim=1)).all()
    assert product_error(D) > 3.01 * 2.0**-18


def test_the_shipped_models_codes_equal_the_definition(device, trained):
    latents, codebooks = trained
    x, codebooks = latents[:: len(latents) // 60].to(device), codebooks.to(device)
    expected = rvq_encode_reference(x, codebooks)
    codes, doubts = search_many(x, codebooks, half_norms(codebooks))
    doubtful = doubts != 0
    assert torch.equal(codes[~doubtful], expected[~doubtful])
    assert doubtful.float().mean() < 0.05
    assert torch.equal(encode(x, codebooks, half_norms(codebooks)), expected)
