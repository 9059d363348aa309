"""The rotation trick's backward pass on a GPU or under the interpreter."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton exists on Linux only")

from toneme.kernels.rotation import rotation_backward_reference
from toneme.kernels.rotation_triton import rotation_backward


@pytest.mark.parametrize(("N", "D"), [(1, 1), (37, 20), (5, 300), (130, 8)])
def test_equals_the_definition(device, N, D):
    x, code, upstream = (torch.randn(N, D, generator=torch.Generator().manual_seed(i)).to(device) for i in range(3))
    expected = rotation_backward_reference(x.double(), code.double(), upstream.double())
    assert torch.allclose(rotation_backward(x, code, upstream).double(), expected, rtol=1e-4, atol=1e-5)  # 32-bit sums of D


def test_zero_vectors_are_finite(device):
    zero = torch.zeros(3, 8, device=device)
    assert rotation_backward(zero, zero, torch.ones(3, 8, device=device)).isfinite().all()
