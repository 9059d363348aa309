"""nearest_code and rvq_encode against their 64-bit definitions."""

import pytest
import torch

from toneme.kernels import nearest_code, nearest_code_reference, rvq_encode, rvq_encode_reference
from toneme.kernels.errors import ShapeError


@pytest.mark.parametrize(("n", "k", "d"), [(1, 1, 1), (7, 5, 3), (1000, 37, 8), (300, 1024, 128), (50, 4096, 20)])
def test_equals_the_definition(n, k, d):
    generator = torch.Generator().manual_seed(n + k + d)
    x, codebook = torch.randn(n, d, generator=generator), torch.randn(k, d, generator=generator)
    assert torch.equal(nearest_code(x, codebook), nearest_code_reference(x, codebook))


def test_lowest_index_wins_ties():
    codebook = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
    codes = nearest_code(torch.randn(100, 16), torch.cat([codebook, codebook]))
    assert (codes < 64).all()


def test_residual_chain_equals_the_definition():
    generator = torch.Generator().manual_seed(3)
    x, codebooks = torch.randn(600, 24, generator=generator), torch.randn(6, 100, 24, generator=generator)
    assert torch.equal(rvq_encode(x, codebooks), rvq_encode_reference(x, codebooks))


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match="nearest_code takes"):
        nearest_code(torch.zeros(3, 4), torch.zeros(8, 5))
    with pytest.raises(ShapeError, match="rvq_encode takes"):
        rvq_encode(torch.zeros(3, 4), torch.zeros(8, 4))
