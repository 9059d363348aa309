"""Grouped quantization: each group by itself, codes in the order of depth, as vector-quantize-pytorch has them."""

import pytest
import torch

from toneme.kernels.errors import ShapeError
from toneme.quantizers.factorised import ResidualFactorisedVQ
from toneme.quantizers.grouped import Grouped
from toneme.quantizers.lookup_free import LFQ
from toneme.quantizers.residual import ResidualVQ


def test_codes_are_those_of_each_group_interleaved():
    torch.manual_seed(0)
    quantizer = Grouped(lambda: ResidualVQ(4, 16, 3), 2).eval()
    x = torch.randn(2, 8, 10)
    codes = quantizer.encode(x)
    for i, group in enumerate(quantizer.groups):
        assert torch.equal(codes[:, i::2], group.encode(x[:, 4 * i : 4 * i + 4]))
    assert torch.equal(quantizer.encode(x, 4), codes[:, :4])
    assert torch.allclose(quantizer.decode(codes[:, :4])[:, :4], quantizer.groups[0].decode(codes[:, 0:4:2]))
    with pytest.raises(ShapeError, match="multiple"):
        quantizer.encode(x, 3)


def test_losses_and_usage_are_those_of_the_groups():
    torch.manual_seed(0)
    x = torch.randn(2, 8, 50)
    for make, name in ((lambda: ResidualFactorisedVQ(4, 16, 2), "codebook"), (lambda: LFQ(4), "entropy")):
        quantizer = Grouped(make, 2)
        parts = [getattr(group(part), name) for group, part in zip(quantizer.groups, x.chunk(2, 1), strict=True)]
        assert torch.allclose(getattr(quantizer(x), name), sum(parts) / 2)
    quantizer = Grouped(lambda: ResidualVQ(4, 16, 2), 2).eval()
    quantizer.groups[1].counts[0, :12] = 0
    assert quantizer(x).usage.tolist() == [1, 0.25, 1, 1]


@pytest.mark.parametrize("gradient", ["straight_through", "rotation"])
def test_codes_and_gradients_equal_the_peers(gradient):
    peers = pytest.importorskip("vector_quantize_pytorch", reason="vector-quantize-pytorch is the peer compared with")
    torch.manual_seed(0)
    ours = Grouped(lambda: ResidualVQ(4, 16, 3, gradient=gradient, per_stage=True), 2)
    options = {"codebook_size": 16, "num_quantizers": 3, "groups": 2, "threshold_ema_dead_code": 0}
    peer = peers.GroupedResidualVQ(dim=8, rotation_trick=gradient == "rotation", **options)
    for group, rvq in zip(ours.groups, peer.rvqs, strict=True):
        group.start(torch.randn(300, 4))
        for layer, codebook in zip(rvq.layers, group.codebooks, strict=True):
            layer._codebook.embed.data.copy_(codebook[None])
            layer._codebook.initted.fill_(True)
    a, upstream = torch.randn(2, 8, 50, requires_grad=True), torch.randn(2, 8, 50)
    b = a.detach().clone().requires_grad_()
    result = ours(a)
    out, indices, losses = peer(b.transpose(1, 2))
    assert torch.equal(result.codes, indices.permute(1, 3, 0, 2).flatten(1, 2))
    (result.latents * upstream).sum().add(7 * result.commitment).backward()
    (out.transpose(1, 2) * upstream).sum().add(7 * losses.mean()).backward()
    assert torch.allclose(result.latents, out.transpose(1, 2), atol=1e-5)  # order of 32-bit sums
    assert torch.allclose(a.grad, b.grad, atol=2e-5)
