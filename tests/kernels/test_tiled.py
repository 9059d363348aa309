"""The search of one large codebook, a tile of scores at a time."""

import pytest
import torch

from toneme.kernels import nearest_code_reference, rvq_encode_reference
from toneme.kernels.chunked import encode
from toneme.kernels.nearest import half_norms
from toneme.kernels.tiled import LEAST_CODES, TILE, takes


def test_takes_large_codebooks_of_whole_tiles():
    assert takes(65536)
    assert takes(LEAST_CODES)
    assert not takes(LEAST_CODES - TILE)
    assert not takes(LEAST_CODES + 1)


@pytest.mark.parametrize(("N", "Q", "D"), [(13, 1, 8), (150, 1, 100), (300, 2, 8)])
def test_equals_the_definition(N, Q, D):
    generator = torch.Generator().manual_seed(N)
    x, codebooks = torch.randn(N, D, generator=generator), torch.randn(Q, LEAST_CODES, D, generator=generator)
    assert torch.equal(encode(x, codebooks, half_norms(codebooks)), rvq_encode_reference(x, codebooks))


def test_equal_codes_give_the_lowest_index_in_any_tile():
    generator = torch.Generator().manual_seed(0)
    codebook = torch.randn(LEAST_CODES // 4, 8, generator=generator)
    codebooks = torch.cat([codebook] * 4)[None]
    x = torch.randn(40, 8, generator=generator)
    codes = encode(x, codebooks, half_norms(codebooks))[:, 0]
    assert torch.equal(codes, nearest_code_reference(x, codebook))


def test_near_ties_equal_the_definition():
    generator = torch.Generator().manual_seed(1)
    codebook = torch.randn(LEAST_CODES, 8, generator=generator) + 4
    pairs = torch.randint(LEAST_CODES, (200, 2), generator=generator)
    near = codebook.clone()
    near[pairs[:, 1]] = codebook[pairs[:, 0]] + 1e-6 * torch.randn(200, 8, generator=generator)
    x = codebook[pairs[:, 0]] + 1e-3 * torch.randn(200, 8, generator=generator)
    plain = torch.addmm(-near.square().sum(1) / 2, x, near.T).argmax(1)
    expected = nearest_code_reference(x, near)
    assert (plain != expected).any(), "the rows must be hard, or this test proves nothing"
    assert torch.equal(encode(x, near[None], half_norms(near[None]))[:, 0], expected)


def test_values_that_are_not_finite_give_codes_in_range():
    x = torch.randn(20, 4)
    x[1], x[2], x[3] = torch.nan, torch.inf, -torch.inf
    codebooks = torch.rand(1, LEAST_CODES, 4)
    codes = encode(x, codebooks, half_norms(codebooks))
    assert ((codes >= 0) & (codes < LEAST_CODES)).all()
