"""The search in C: every size of panel, tile and part; doubt settled in 64 bits, or told."""

import weakref
from ctypes import c_size_t

import pytest
import torch

from toneme.kernels import fused, native, rvq_encode_reference
from toneme.kernels.chunked import MEMORY_SHARE
from toneme.kernels.nearest import half_norms
from toneme.kernels.rescan import error_factors

pytestmark = pytest.mark.skipif(not fused.takes(1), reason="needs the C kernels, and a processor whose vectors are theirs")


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def near_ties(n: int, Q: int = 3, K: int = 64, D: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Return x [n, D] and codebooks [Q, K, D] of codes that come in pairs too near for 32 bits, far from zero."""
    codebooks = normal(Q, K // 2, D, seed=n).repeat_interleave(2, 1)
    codebooks[:, 1::2] += 1e-5 * normal(Q, K // 2, D, seed=n + 1)
    return 10 + normal(n, D, seed=n + 2), 10 + codebooks


@pytest.mark.parametrize("N", [*range(1, 35), 300])
def test_every_number_of_rows_equals_the_definition(N):
    x, codebooks = normal(N, 5), normal(3, 50, 5, seed=1)
    assert torch.equal(fused.encode(x, codebooks, half_norms(codebooks)), rvq_encode_reference(x, codebooks))


def test_bounds_are_held_while_they_are_read(monkeypatch):
    x, codebooks, codes = normal(3, 5), normal(2, 50, 5, seed=1), torch.empty((2, 3), dtype=torch.int64)
    half, library, seen = half_norms(codebooks), native.products(), []

    class Library:
        toneme_search_bytes = library.toneme_search_bytes

        def toneme_search(self, *values):
            assert all(one() is not None for one in seen)
            library.toneme_search(*values)

    def address(values):
        seen.append(weakref.ref(values))
        return native.address(values)

    monkeypatch.setattr(fused, "products", Library)
    monkeypatch.setattr(fused, "address", address)
    apart = [torch.stack([bound, bound], dim=1)[:, 0] for bound in error_factors(codebooks, half)]
    fused.search(x, (codebooks, half), (apart[0], apart[1]), codes)
    assert len(seen) == 7
    assert torch.equal(codes.T, rvq_encode_reference(x, codebooks))


@pytest.mark.parametrize("D", [1, 2, 3, 4, 5, 7, 8, 31, 32, 33, 47, 48, 100, 257, 500, 513, 768, 1024])
@pytest.mark.parametrize("K", [1, 2, 6, 11, 12, 13, 257])
def test_every_size_of_codebook_equals_the_definition(K, D):
    for N in (1, 7, 21):
        x, codebooks = normal(N, D), normal(2, K, D, seed=1)
        assert torch.equal(fused.encode(x, codebooks, half_norms(codebooks)), rvq_encode_reference(x, codebooks))


def test_more_rows_than_a_part_and_more_codes_than_a_block_equal_the_definition():
    x, codebooks = normal(3300, 40), normal(2, 1000, 40, seed=1)
    assert len(x) > 2 * fused.rows_of_part(3300, 40, 2)
    assert torch.equal(fused.encode(x, codebooks, half_norms(codebooks)), rvq_encode_reference(x, codebooks))


@pytest.mark.parametrize("D", [4, 12, 13, 40, 257])
@pytest.mark.parametrize("n", [1, 5, 40])
def test_near_ties_are_settled_in_64_bits(n, D):
    x, codebooks = near_ties(n, D=D)
    assert torch.equal(fused.encode(x, codebooks, half_norms(codebooks)), rvq_encode_reference(x, codebooks))


def far_ties(n: int, K: int, D: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return x [n, D] and a codebook [1, K, D], far from zero; each code is too near for 32 bits to another one of anywhere."""
    generator = torch.Generator().manual_seed(n)
    half, order = 4 + normal(K // 2, D), torch.randperm(K, generator=generator)
    codebook = torch.cat([half, half + 1e-6 * normal(K // 2, D, seed=1)])[order]
    return codebook[torch.randint(0, K, (n,), generator=generator)] + 0.01 * normal(n, D, seed=2), codebook[None]


@pytest.mark.parametrize(("K", "D"), [(20_000, 8), (6000, 40), (4100, 512), (300, 1500)])
@pytest.mark.parametrize("n", [1, 2, 40, 300])
def test_a_tie_of_far_blocks_is_settled_among_them(n, K, D):
    x, codebook = far_ties(n, K, D)
    expected = rvq_encode_reference(x, codebook)
    codes, doubt = told(x, codebook)
    assert doubt.all(), "the rows must be hard, or this test proves nothing"
    if n == 300:
        assert not torch.equal(codes, expected), "32 bits must choose wrong codes, or this test proves nothing"
    assert torch.equal(fused.encode(x, codebook, half_norms(codebook)), expected)


@pytest.mark.parametrize("N", [1, 2, 8, 9, 16, 17])
def test_codes_that_threads_share_are_those_of_one(N):
    x, codebooks = normal(N, 257), normal(2, 2100, 257, seed=1)
    x[0] = codebooks[0, [3, 2000]].mean(0)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            assert torch.equal(fused.encode(x, codebooks, half_norms(codebooks)), rvq_encode_reference(x, codebooks))
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("D", [8, 40, 513])
def test_equal_codes_of_far_blocks_give_the_lowest_index(D):
    codebook = normal(1, 4100, D)
    for N in (1, 30):
        codes = fused.encode(normal(N, D, seed=1), torch.cat([codebook, codebook], 1), half_norms(codebook).repeat(1, 2))
        assert (codes < 4100).all()


def test_equal_codes_give_the_lowest_index():
    codebook = normal(1, 40, 9)
    codes = fused.encode(normal(100, 9, seed=1), torch.cat([codebook, codebook], 1), half_norms(codebook).repeat(1, 2))
    assert (codes < 40).all()


def test_zero_half_norms_search_for_the_greatest_product():
    x, codebook = near_ties(60)
    expected = (x.double() @ codebook[0].double().T).argmax(1)
    assert torch.equal(fused.encode(x, codebook[:1], torch.zeros(1, 64))[:, 0], expected)


def told(x: torch.Tensor, codebooks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    half = half_norms(codebooks)
    codes, doubt = (
        torch.empty((len(codebooks), len(x)), dtype=torch.int64),
        torch.empty((len(codebooks), len(x)), dtype=torch.bool),
    )
    fused.search(x, (codebooks, half), error_factors(codebooks, half), codes, doubt)
    return codes.T, doubt.T


def test_doubt_is_told_where_rounding_may_have_chosen_and_hardly_elsewhere():
    x, codebooks = near_ties(200)
    codes, doubt = told(x, codebooks)
    wrong = codes[:, 0] != rvq_encode_reference(x, codebooks)[:, 0]
    assert wrong.any()
    assert not (wrong & ~doubt[:, 0]).any()
    clear, doubt = told(normal(200, 12), normal(3, 64, 12, seed=1))
    assert doubt.float().mean() < 0.01
    assert torch.equal(clear, rvq_encode_reference(normal(200, 12), normal(3, 64, 12, seed=1)))


def test_values_that_are_no_numbers_are_in_doubt_and_give_codes_in_range():
    x = normal(20, 6)
    x[3], x[5, 2], x[17] = torch.nan, torch.inf, -torch.inf
    codes, doubt = told(x, normal(2, 30, 6, seed=1))
    assert doubt[[3, 5, 17]].all()
    assert not doubt[0].any()
    assert ((codes >= 0) & (codes < 30)).all()
    assert (fused.encode(x, normal(2, 30, 6, seed=1), half_norms(normal(2, 30, 6, seed=1))) < 30).all()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_row_by_itself_that_is_no_number_is_in_doubt_and_gives_a_code_in_range(value):
    x, codebooks = normal(1, 40), normal(2, 900, 40, seed=1)
    x[0, 7] = value
    codes, doubt = told(x, codebooks)
    assert doubt.all()
    for found in (codes, fused.encode(x, codebooks, half_norms(codebooks))):
        assert ((found >= 0) & (found < 900)).all()


@pytest.mark.parametrize(("N", "K", "D", "workers"), [(4500, 1024, 128, 2), (4500, 4096, 512, 2), (100_000, 1024, 128, 8)])
def test_what_is_in_memory_stays_under_a_tenth_of_the_scores(N, K, D, workers):
    library = native.products()
    assert library is not None
    size = c_size_t(fused.rows_of_part(N, D, workers))
    assert library.toneme_search_bytes(size, D, workers) <= MEMORY_SHARE * 4 * N * K


def test_parts_are_whole_lanes_and_alike():
    assert [fused.rows_of_part(N, 128, 2) for N in (1, 16, 33, 1000, 4500)] == [16, 16, 32, 512, 464]
    assert fused.rows_of_part(10**6, 1 << 20, 1) == fused.LANES
