"""The CPU's chunked search: its sizes and its memory."""

import pytest
import torch

from toneme.kernels import rvq_encode_reference
from toneme.kernels.chunked import MEMORY_SHARE, chunk_rows, encode
from toneme.kernels.nearest import half_norms
from toneme.kernels.workspace import block_size


@pytest.mark.parametrize("K", [1, 2, 15, 16, 17, 64, 100, 1023, 1025])
def test_every_size_of_codebook_equals_the_definition(K):
    generator = torch.Generator().manual_seed(K)
    x, codebooks = torch.randn(150, 6, generator=generator), torch.randn(2, K, 6, generator=generator)
    assert torch.equal(encode(x, codebooks, half_norms(codebooks)), rvq_encode_reference(x, codebooks))


@pytest.mark.parametrize(("N", "K", "D", "workers"), [(4500, 1024, 128, 1), (4500, 1024, 128, 2), (100_000, 1024, 128, 2)])
def test_buffers_stay_under_a_tenth_of_the_scores(N, K, D, workers):
    rows = chunk_rows(N, K, D, workers)
    assert workers * rows * (K + block_size(K) + D) <= MEMORY_SHARE * N * K
