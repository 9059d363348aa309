"""The GPU's folded factorised encode, on a GPU or under the interpreter, against the chain in 64 bits."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton exists on Linux only")

from toneme.kernels.factorised import Projections, factorised_encode_reference, fold
from toneme.kernels.factorised_triton import encode


@pytest.mark.parametrize(
    ("N", "Q", "d", "D", "K"), [(1, 1, 8, 16, 3), (70, 5, 8, 64, 100), (20, 9, 8, 32, 130), (33, 3, 5, 20, 37)]
)
def test_equals_the_definition(device, N, Q, d, D, K):
    generator = torch.Generator().manual_seed(N)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(device)

    projections = Projections(normal(Q, d, D) / D**0.5, normal(Q, d) / 10, normal(Q, D, d) / d**0.5, normal(Q, D) / 10)
    codebooks, x = normal(Q, K, d), normal(N, D)
    codebooks[:, K // 2 + 1 :] = codebooks[:, : K - K // 2 - 1] + 1e-7  # pairs that only 64 bits tell apart
    codes, doubtful = encode(x, fold(projections, codebooks), codebooks)
    expected = factorised_encode_reference(x, projections, codebooks)
    assert torch.equal(codes[~doubtful], expected[~doubtful])
    assert doubtful.float().mean() < 0.2 or K < 8
