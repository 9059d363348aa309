"""Multi-scale residual: rates, decode of a prefix, refusal of frames that do not divide."""

import pytest
import torch

from toneme.kernels.errors import ShapeError
from toneme.quantizers.factorised import ResidualFactorisedVQ
from toneme.quantizers.multiscale import MultiScaleResidual, pool, spread
from toneme.quantizers.residual import ResidualVQ


@pytest.fixture
def quantizer():
    torch.manual_seed(0)
    return MultiScaleResidual(lambda: ResidualFactorisedVQ(6, 32, 1, code_dim=4), (4, 2, 1)).eval()


def test_each_scale_has_its_rate_and_forward_is_decode_of_encode(quantizer):
    x = torch.randn(2, 6, 24, requires_grad=True)
    codes = quantizer.encode(x)
    assert [tuple(code.shape) for code in codes] == [(2, 1, 6), (2, 1, 12), (2, 1, 24)]
    result = quantizer(x)
    assert all(map(torch.equal, result.codes, codes))
    assert torch.allclose(result.latents, quantizer.decode(codes), atol=1e-5)
    assert result.usage.shape == (3,)
    result.latents.square().sum().backward()
    assert x.grad.abs().sum() > 0


def test_each_scales_gradient_is_of_its_means():
    torch.manual_seed(0)
    quantizer = MultiScaleResidual(lambda: ResidualVQ(6, 16, 1), (4, 1)).eval()
    x, upstream = torch.randn(1, 6, 8, requires_grad=True), torch.randn(1, 6, 8)
    quantizer(x).latents.backward(upstream)
    assert torch.allclose(x.grad, upstream + spread(pool(upstream, 4), 4), atol=1e-6)


def test_a_prefix_decodes_and_more_scales_come_closer():
    torch.manual_seed(0)
    x = torch.randn(1, 6, 400).cumsum(2) / 10
    quantizer = MultiScaleResidual(lambda: ResidualVQ(6, 64, 1), (4, 2, 1))
    for _ in range(30):
        quantizer(x)
    codes = quantizer.eval().encode(x)
    errors = [(quantizer.decode(codes[:n]) - x).square().mean() for n in (1, 2, 3)]
    assert errors[0] > errors[1] > errors[2]
    assert len(quantizer.encode(x, 2)) == 2


def test_frames_that_do_not_divide_are_refused(quantizer):
    with pytest.raises(ShapeError, match="multiple of the stride 4"):
        quantizer.encode(torch.randn(1, 6, 25))
