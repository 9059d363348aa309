"""The second look at doubtful rows: right for any candidates, from any earlier codes."""

import pytest
import torch

from toneme.kernels import rvq_encode_reference
from toneme.kernels.nearest import half_norms
from toneme.kernels.rescan import error_factors, exact_products, recode, rescan


def test_replaces_wrong_codes_of_doubtful_rows_only():
    generator = torch.Generator().manual_seed(0)
    x, codebooks = torch.randn(40, 12, generator=generator), torch.randn(3, 33, 12, generator=generator)
    wrong, doubtful = torch.full((40, 3), 5), torch.arange(40) % 2 == 0
    codes = rescan(x, codebooks, half_norms(codebooks), wrong.clone(), doubtful)
    assert torch.equal(codes[doubtful], rvq_encode_reference(x, codebooks)[doubtful])
    assert torch.equal(codes[~doubtful], wrong[~doubtful])


def test_a_stage_in_doubt_is_settled_and_what_follows_from_it():
    generator = torch.Generator().manual_seed(1)
    x, codebooks = torch.randn(6, 12, generator=generator), torch.randn(4, 33, 12, generator=generator)
    right = rvq_encode_reference(x, codebooks)
    codes = right.clone()
    codes[1:4, 1] = (codes[1:4, 1] + 1) % 33
    expected = right.clone()
    expected[3, 1] = codes[3, 1]  # not in doubt
    rows, stages = torch.tensor([1, 2, 4, 1]), torch.tensor([1, 1, 3, 3])
    assert torch.equal(recode(x, codebooks, half_norms(codebooks), codes, rows, stages), expected)


@pytest.mark.parametrize("D", [3, 64, 512])
def test_the_error_of_a_score_is_under_its_bound(D):
    generator = torch.Generator().manual_seed(D)
    x, codebook = torch.randn(200, D, generator=generator), torch.randn(100, D, generator=generator) * 3
    half = half_norms(codebook)[None]
    exact = x.double() @ codebook.double().T - codebook.double().square().sum(1) / 2
    error = (torch.addmm(-half[0], x, codebook.T).double() - exact).abs().amax(1)
    slope, offset = error_factors(codebook[None], half)
    assert (2 * error <= x.norm(dim=1) * slope[0] + offset[0]).all()
    slope, offset = error_factors(codebook[None], torch.zeros_like(half))
    product = ((x @ codebook.T).double() - x.double() @ codebook.double().T).abs().amax(1)
    assert (2 * product <= x.norm(dim=1) * slope[0] + offset[0]).all()
    assert (slope > 0).all(), "a search without half norms has errors too"


def test_precision_is_full_inside_and_restored_outside():
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu"), exact_products(torch.zeros(1)):
            assert torch.get_float32_matmul_precision() == "highest"
            assert torch.mm(torch.zeros(2, 2), torch.zeros(2, 2)).dtype == torch.float32
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
