"""Residual decode: the sum of the codes, and its gradient to the codebooks."""

import pytest
import torch

from toneme.kernels import decode
from toneme.kernels.decode import rvq_decode
from toneme.kernels.errors import ShapeError


def test_is_the_sum_of_the_chosen_codes():
    codebooks = torch.randn(3, 7, 4)
    codes = torch.tensor([[0, 6, 3], [2, -1, 7]])
    out = rvq_decode(codes, codebooks)
    assert torch.allclose(out[0], codebooks[0, 0] + codebooks[1, 6] + codebooks[2, 3])
    assert torch.equal(out[1], codebooks[0, 2]), "codes outside their codebook add nothing"


def test_gradient_counts_each_use():
    codebooks = torch.randn(2, 5, 3, requires_grad=True)
    codes = torch.tensor([[0, 1], [0, -1], [4, 1]])
    upstream = torch.randn(3, 3)
    rvq_decode(codes, codebooks).backward(upstream)
    expected = torch.zeros(2, 5, 3)
    expected[0, 0], expected[0, 4], expected[1, 1] = upstream[0] + upstream[1], upstream[2], upstream[0] + upstream[2]
    assert torch.allclose(codebooks.grad, expected, atol=1e-6)


def test_more_codes_than_codebooks_are_refused():
    with pytest.raises(ShapeError, match="rvq_decode takes"):
        rvq_decode(torch.zeros(1, 3, dtype=torch.int64), torch.zeros(2, 4, 4))


def test_compile_and_export_see_through():
    codebooks, codes = torch.randn(2, 5, 3), torch.tensor([[0, 1], [4, -1], [2, 2]])
    torch.library.opcheck(torch.ops.toneme.rvq_decode, (codes, codebooks.clone().requires_grad_()))

    class Decode(torch.nn.Module):
        def forward(self, codes):
            return rvq_decode(codes, codebooks) * 2

    expected = 2 * rvq_decode(codes, codebooks)
    assert torch.equal(torch.compile(Decode(), backend="aot_eager", fullgraph=True)(codes), expected)
    assert torch.equal(torch.export.export(Decode(), (codes,)).module()(codes), expected)


def test_64_bits_stay_64_bits_on_a_gpu(monkeypatch):
    monkeypatch.setattr(decode, "on_gpu", lambda x: True)  # the kernel adds in 32 bits, and does not run on a processor
    codes, codebooks = torch.randint(9, (7, 3)), torch.randn(3, 9, 5, dtype=torch.float64)
    assert torch.equal(rvq_decode(codes, codebooks), decode.rvq_decode_reference(codes, codebooks))
