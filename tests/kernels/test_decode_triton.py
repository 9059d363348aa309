"""Residual decode on a GPU or under the interpreter."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton exists on Linux only")

from toneme.kernels.decode import rvq_decode_reference
from toneme.kernels.decode_triton import rvq_decode


@pytest.mark.parametrize(("N", "Q", "K", "D"), [(1, 1, 1, 1), (37, 3, 17, 20), (65, 4, 5, 130)])
def test_equals_the_definition_bit_for_bit(device, N, Q, K, D):
    generator = torch.Generator().manual_seed(N)
    codes = torch.randint(-1, K + 1, (N, Q), generator=generator).to(device)  # -1 and K are outside the codebook
    codebooks = torch.randn(Q, K, D, generator=generator).to(device)
    assert torch.equal(rvq_decode(codes, codebooks), rvq_decode_reference(codes, codebooks))
    assert torch.equal(rvq_decode(codes[:, :1], codebooks), rvq_decode_reference(codes[:, :1], codebooks))
