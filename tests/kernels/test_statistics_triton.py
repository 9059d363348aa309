"""Sums per code on a GPU or under the interpreter: the same integers as the definition."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton exists on Linux only")

from toneme.kernels.statistics import code_statistics_reference, scale_of
from toneme.kernels.statistics_triton import code_statistics


@pytest.mark.parametrize(("N", "K", "D"), [(1, 1, 1), (200, 17, 24), (65, 5, 130), (33, 40, 7)])
def test_integers_equal_the_definition(device, N, K, D):
    generator = torch.Generator().manual_seed(N)
    rows = (100 * torch.randn(N, D, generator=generator)).to(device)
    codes = torch.randint(0, K, (N,), generator=generator).to(device)
    scale = scale_of(rows.abs().amax())
    expected = code_statistics_reference(codes, rows, K, scale)
    for order in (torch.arange(N), torch.randperm(N)):
        counts, sums = code_statistics(codes[order.to(device)], rows[order.to(device)], K, scale)
        assert torch.equal(counts, expected.counts)
        assert torch.equal(sums, expected.sums)


def test_no_rows(device):
    scale = torch.ones((), dtype=torch.float64, device=device)
    counts, sums = code_statistics(torch.zeros(0, dtype=torch.int64, device=device), torch.zeros(0, 3, device=device), 4, scale)
    assert not counts.any()
    assert not sums.any()
