"""Folded factorised encode against the chain it replaces, in 64 bits."""

import pytest
import torch

from toneme.kernels import factorised
from toneme.kernels.errors import ShapeError
from toneme.kernels.factorised import Projections, cosine_code, factorised_encode, factorised_encode_reference

pytestmark = pytest.mark.usefixtures("each_search")


def chain(Q: int, d: int, D: int, K: int, seed: int = 0) -> tuple[Projections, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    projections = Projections(normal(Q, d, D) / D**0.5, normal(Q, d) / 10, normal(Q, D, d) / d**0.5, normal(Q, D) / 10)
    return projections, normal(Q, K, d)


@pytest.mark.parametrize(
    ("N", "Q", "d", "D", "K"), [(1, 1, 8, 16, 5), (200, 5, 8, 96, 64), (301, 9, 8, 128, 1024), (50, 3, 3, 7, 33)]
)
def test_equals_the_definition(N, Q, d, D, K):
    projections, codebooks = chain(Q, d, D, K)
    x = torch.randn(N, D, generator=torch.Generator().manual_seed(1))
    assert torch.equal(factorised_encode(x, projections, codebooks), factorised_encode_reference(x, projections, codebooks))


def test_near_ties_equal_the_definition():
    projections, codebooks = chain(2, 4, 24, 64)
    codebooks[:, 32:] = codebooks[:, :32] + 1e-7 * torch.randn(2, 32, 4)
    x = torch.randn(500, 24)
    assert torch.equal(factorised_encode(x, projections, codebooks), factorised_encode_reference(x, projections, codebooks))


def test_equal_codes_give_the_lowest_index_at_any_length():
    codebook = torch.randn(20, 8)
    x = torch.randn(100, 8)
    codes = cosine_code(x, torch.cat([codebook, 4 * codebook]))
    assert (codes < 20).all()
    assert torch.equal(codes, cosine_code(1000 * x, codebook))


def test_shapes_that_do_not_fit_are_refused():
    projections, codebooks = chain(2, 4, 24, 16)
    with pytest.raises(ShapeError, match=r"x \[N, 24\]"):
        factorised_encode(torch.zeros(3, 25), projections, codebooks)


def test_export_sees_through():
    projections, codebooks = chain(2, 4, 24, 16)
    x = torch.randn(5, 24)
    torch.library.opcheck(torch.ops.toneme.factorised_encode, (x, *projections, codebooks))

    class Encode(torch.nn.Module):
        def forward(self, x):
            return factorised_encode(x, projections, codebooks)

    expected = factorised_encode(x, projections, codebooks)
    assert torch.equal(torch.compile(Encode(), backend="aot_eager", fullgraph=True)(x), expected)
    assert torch.equal(torch.export.export(Encode(), (x,)).module()(x), expected)


def test_wide_codes_are_not_for_the_kernel_of_a_gpu(monkeypatch):
    monkeypatch.setattr(factorised, "on_gpu", lambda x: True)  # whose shared memory they would overflow
    projections, codebooks = chain(2, 72, 80, 6)
    x = torch.randn(9, 80)
    assert torch.equal(factorised_encode(x, projections, codebooks), factorised_encode_reference(x, projections, codebooks))
