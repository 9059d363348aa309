"""The search of few rows, doubt settled stage by stage."""

import pytest
import torch

from toneme.kernels import rvq_encode_reference
from toneme.kernels.nearest import half_norms
from toneme.kernels.rescan import error_factors
from toneme.kernels.settled import encode_few, encode_settled
from toneme.kernels.workspace import buffers

WAYS = {"compiled": lambda loop: loop, "Python": lambda loop: loop.function}


def near_ties(n: int, Q: int = 3, K: int = 64, D: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Return x [n, D] and codebooks [Q, K, D] of codes that come in pairs too near for 32 bits, far from zero."""
    generator = torch.Generator().manual_seed(n)
    codebooks = torch.randn(Q, K // 2, D, generator=generator).repeat_interleave(2, 1)
    codebooks[:, 1::2] += 1e-5 * torch.randn(Q, K // 2, D, generator=generator)
    return 10 + torch.randn(n, D, generator=generator), 10 + codebooks


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("n", [1, 5, 40])
def test_near_ties_equal_the_definition(n, way):
    x, codebooks = near_ties(n)
    half = half_norms(codebooks)
    bounds, expected = error_factors(codebooks, half), rvq_encode_reference(x, codebooks)
    for loop, work in ((encode_few, ()), (encode_settled, (buffers(n, 1, 64, 12),))):
        codes = torch.empty((3, n), dtype=torch.int64)
        WAYS[way](loop)(x, (codebooks, half), bounds, *work, codes)
        assert torch.equal(codes.T, expected)


def test_what_32_bits_say_would_be_wrong():
    x, codebooks = near_ties(40)
    scores = torch.addmm(half_norms(codebooks)[0], x, codebooks[0].T, beta=-1)
    assert not torch.equal(scores.argmax(1), rvq_encode_reference(x, codebooks)[:, 0])
