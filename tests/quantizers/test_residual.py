"""Residual VQ against vector-quantize-pytorch: the same codes and gradients; and the published bugs, behind their switch."""

import pytest
import torch

from toneme.kernels.errors import ShapeError
from toneme.quantizers.residual import ResidualVQ

Peer = pytest.importorskip("vector_quantize_pytorch", reason="vector-quantize-pytorch is the peer compared with").ResidualVQ


def pair(gradient: str):
    torch.manual_seed(0)
    ours = ResidualVQ(8, 32, 4, gradient=gradient, per_stage=True)
    ours.start(torch.randn(500, 8))
    peer = Peer(dim=8, codebook_size=32, num_quantizers=4, rotation_trick=gradient == "rotation", threshold_ema_dead_code=0)
    for layer, codebook in zip(peer.layers, ours.codebooks, strict=True):
        layer._codebook.embed.data.copy_(codebook[None])
        layer._codebook.initted.fill_(True)
    return ours, peer


@pytest.mark.parametrize("gradient", ["straight_through", "rotation"])
def test_codes_and_gradients_equal_the_peers(gradient):
    ours, peer = pair(gradient)
    x = torch.randn(2, 8, 50)
    upstream = torch.randn(2, 8, 50)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    result = ours(a)
    out, indices, losses = peer(b.transpose(1, 2))
    assert torch.equal(result.codes, indices.transpose(1, 2))
    (result.latents * upstream).sum().add(7 * result.commitment).backward()
    (out.transpose(1, 2) * upstream).sum().add(7 * losses.mean()).backward()
    assert torch.allclose(result.latents, out.transpose(1, 2), atol=1e-5)  # order of 32-bit sums
    assert torch.allclose(a.grad, b.grad, atol=2e-5)


def test_the_gradient_is_the_upstream_gradient():
    quantizer = ResidualVQ(8, 32, 4)
    x, upstream = torch.randn(2, 8, 50, requires_grad=True), torch.randn(2, 8, 50)
    quantizer(x).latents.backward(upstream)
    assert torch.allclose(x.grad, upstream, atol=1e-6)


def commitment_gradient(**options):
    """Gradient of one stage's commitment to the latents."""
    torch.manual_seed(0)
    quantizer = ResidualVQ(8, 32, 3, **options).eval()
    x = torch.randn(1, 8, 20, requires_grad=True)
    quantizer(x).commitment.backward()
    codes = quantizer.encode(x.detach())
    residuals = [x.detach() - (quantizer.decode(codes[:, :q]) if q else 0) for q in range(4)]
    return x.grad, [2 * residual / (3 * 160) for residual in residuals[1:]]


def test_every_stages_commitment_reaches_the_encoder():
    gradient, parts = commitment_gradient()
    assert torch.allclose(gradient, sum(parts), atol=1e-6)


def test_upstream_compat_lets_only_the_first_commitment_through():
    gradient, parts = commitment_gradient(upstream_compat=True)
    assert torch.allclose(gradient, parts[0], atol=1e-6)
    assert not torch.allclose(gradient, sum(parts), atol=1e-6)


@pytest.mark.parametrize("beam", [1, 4])
def test_private_numbers_are_the_first_codebooks_alone(beam):
    torch.manual_seed(0)
    quantizer = ResidualVQ(8, 32, 3, decay=0.5, private=3)
    assert not quantizer.codebooks[1:, :, 5:].any()
    rows = torch.randn(600, 8)
    quantizer.start(rows)
    quantizer.training_beam = beam
    for _ in range(10):
        quantizer(torch.randn(1, 8, 300))
    assert not quantizer.codebooks[1:, :, 5:].any()
    assert not quantizer.sums[1:, :, 5:].any()
    assert quantizer.codebooks[0, :, 5:].std() > 0.1
    codes = quantizer.encode(rows.T[None])
    assert torch.equal(quantizer.decode(codes)[:, 5:], quantizer.decode(codes[:, :1])[:, 5:])
    left = rows - quantizer.codebooks[0][codes[0, 0]]
    left[:, 5:] = torch.randn(600, 3)
    assert torch.equal(quantizer.search(left, 1).T, codes[0, 1:])


def test_what_the_first_codebook_leaves_of_private_numbers_counts_once():
    torch.manual_seed(0)
    quantizer, latents = ResidualVQ(8, 32, 3, private=3).eval(), torch.randn(1, 8, 50, requires_grad=True)
    quantizer(latents).commitment.backward()
    codes = quantizer.encode(latents.detach())
    left = [latents.detach() - quantizer.decode(codes[:, : stage + 1]) for stage in range(3)]
    expected = sum(2 * part / (3 * 400) for part in left)
    expected[:, 5:] = 2 * left[0][:, 5:] / (3 * 400)
    torch.testing.assert_close(latents.grad, expected)


@pytest.mark.parametrize("private", [-1, 8, 9])
def test_more_private_numbers_than_there_are_is_refused(private):
    with pytest.raises(ShapeError, match=f"of 8 numbers of a vector 0 to 7 can be the first codebook's own; got {private}"):
        ResidualVQ(8, 32, 3, private=private)
