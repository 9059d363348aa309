"""Sums per code: right, and the same bits in any order and any split."""

import torch

from toneme.kernels.statistics import code_statistics, scale_of


def test_sums_and_counts():
    generator = torch.Generator().manual_seed(0)
    rows, codes = torch.randn(500, 6, generator=generator), torch.randint(0, 11, (500,), generator=generator)
    statistics = code_statistics(codes, rows, 12)
    expected = torch.zeros(12, 6, dtype=torch.float64).index_add_(0, codes, rows.double())
    assert torch.equal(statistics.counts, torch.bincount(codes, minlength=12))
    assert torch.allclose(statistics.float_sums(torch.float64), expected, atol=500 * 2.0**-28)  # half a step per row


def test_order_and_split_leave_no_trace():
    generator = torch.Generator().manual_seed(1)
    rows, codes = 1e3 * torch.randn(400, 5, generator=generator), torch.randint(0, 7, (400,), generator=generator)
    order = torch.randperm(400, generator=generator)
    whole = code_statistics(codes, rows, 7)
    peak = rows.abs().amax()
    halves = [code_statistics(codes[part], rows[part], 7, peak) for part in order.split(150)]
    assert torch.equal(whole.sums, sum(half.sums for half in halves))
    assert torch.equal(whole.counts, sum(half.counts for half in halves))


def test_scale_leaves_room():
    for peak in (1e-30, 0.3, 1.0, 7e8):
        scaled = peak * scale_of(torch.tensor(peak, dtype=torch.float64))
        assert 2**29 <= scaled <= 2**30
    assert scale_of(torch.tensor(0.0)) == 1


def test_no_rows():
    statistics = code_statistics(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 3), 4)
    assert not statistics.counts.any()
    assert not statistics.sums.any()


def test_the_operator_is_sound_and_compiles():
    rows, codes = torch.randn(20, 3), torch.arange(20) % 4
    torch.library.opcheck(torch.ops.toneme.code_statistics, (codes, rows, 5, scale_of(rows.abs().amax())))
    compiled = torch.compile(lambda r: code_statistics(codes, r, 5).sums, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(rows), code_statistics(codes, rows, 5).sums)
