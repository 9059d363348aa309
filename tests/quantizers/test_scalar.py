"""FSQ and residual FSQ: every code is reached, and codes and gradients equal vector-quantize-pytorch's."""

import itertools

import pytest
import torch

from toneme.quantizers.scalar import FSQ, ResidualFSQ

peers = pytest.importorskip("vector_quantize_pytorch", reason="vector-quantize-pytorch is the peer compared with")


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("levels", [(8, 5, 5, 5), (3, 2), (4, 4)])
def test_pack_unpack_and_values_cover_the_grid(levels, symmetric):
    fsq = FSQ(levels, symmetric=symmetric)
    codes = torch.arange(fsq.sizes[0])
    numbers = fsq.unpack(codes)
    assert {tuple(row) for row in numbers.tolist()} == set(itertools.product(*map(range, levels)))
    assert torch.equal(fsq.pack(numbers), codes)
    assert fsq.values(numbers).abs().amax() <= 1


def test_far_values_reach_the_outermost_levels():
    fsq = FSQ((8, 5, 2))
    codes = fsq.encode(torch.tensor([-50.0, 50.0]).expand(1, 3, 2))
    assert codes.flatten().tolist() == [0, 79]
    for count in (1499, 1500):  # so many that the margin beyond the outermost of them is wider than half a level
        assert FSQ((count,)).encode(torch.tensor([[[-50.0, 50.0]]])).flatten().tolist() == [0, count - 1]


@pytest.mark.parametrize("symmetric", [False, True])
def test_codes_and_gradients_equal_the_peers(symmetric):
    levels = (8, 6, 5, 3)
    ours, peer = FSQ(levels, symmetric=symmetric), peers.FSQ(levels=list(levels), preserve_symmetry=symmetric)
    a = 2 * torch.randn(2, 4, 300, generator=torch.Generator().manual_seed(0))
    a[..., 0] = 0  # as silence may give, halfway between two of 8 or 6 symmetric levels
    a.requires_grad_()
    b = a.detach().clone().requires_grad_()
    result, (out, indices) = ours(a), peer(b.transpose(1, 2))
    assert torch.equal(result.codes[:, 0], indices.long())
    upstream = torch.randn(2, 4, 300)
    result.latents.backward(upstream)
    out.backward(upstream.transpose(1, 2))
    assert torch.allclose(result.latents, out.transpose(1, 2), atol=1e-6)
    assert torch.allclose(a.grad, b.grad, atol=1e-5)


def test_residual_codes_and_gradients_equal_the_peers():
    levels = (5, 4, 3)
    ours, peer = ResidualFSQ(levels, 3, per_stage=True), peers.ResidualFSQ(levels=list(levels), num_quantizers=3)
    a = torch.randn(2, 3, 300, generator=torch.Generator().manual_seed(0)).requires_grad_()
    b = a.detach().clone().requires_grad_()
    result, (out, indices) = ours(a), peer(b.transpose(1, 2))
    assert torch.equal(result.codes, indices.transpose(1, 2).long())
    upstream = torch.randn(2, 3, 300)
    result.latents.backward(upstream)
    out.backward(upstream.transpose(1, 2))
    assert torch.allclose(result.latents, out.transpose(1, 2), atol=1e-6)
    assert torch.allclose(a.grad, b.grad, atol=1e-5)


def test_the_residual_chain_is_passed_straight_through():
    quantizer = ResidualFSQ((5, 4, 3), 3)
    x = torch.randn(2, 3, 50, generator=torch.Generator().manual_seed(0)).requires_grad_()
    upstream = torch.randn(2, 3, 50, generator=torch.Generator().manual_seed(1))
    (ours,) = torch.autograd.grad((quantizer(x).latents * upstream).sum(), x)
    rows = quantizer._bounded(x.transpose(1, 2))  # the chain's input, which the gradient then is that of
    (expected,) = torch.autograd.grad((rows.transpose(1, 2) * upstream).sum(), x)
    assert torch.allclose(ours, expected, atol=1e-6)


@pytest.mark.parametrize("make", [lambda: FSQ((4, 3, 2), 2), lambda: ResidualFSQ((4, 3, 2), 2, 2)])
def test_latents_may_be_narrower_than_the_codes(make):
    quantizer = make()
    assert quantizer(torch.randn(1, 2, 20)).latents.shape == (1, 2, 20)


def test_deeper_residual_codes_are_closer():
    x = torch.randn(1, 4, 500, generator=torch.Generator().manual_seed(0)) / 2
    quantizer = ResidualFSQ((5, 5, 5, 5), 3)
    codes, bounded = quantizer.encode(x), quantizer._bounded(x[0].T).T[None]
    errors = [(quantizer.decode(codes[:, :d]) - bounded).abs().mean() for d in (1, 2, 3)]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "make", [lambda: FSQ((4, 4), 6, symmetric=True), lambda: ResidualFSQ((4, 4), 3, 6), lambda: ResidualFSQ((4, 4), 3, 6, True)]
)
def test_every_type_of_weights_is_trained_and_decoded(make, dtype):
    quantizer = make().to(dtype)
    x = torch.randn(1, 6, 20, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    result = quantizer(x)
    result.latents.sum().backward()
    assert x.grad.isfinite().all()
    decoded = quantizer.decode(quantizer.encode(x.detach()))
    assert decoded.dtype == result.latents.dtype == dtype
    # one rounding of values up to 2, at the 8 bits of bfloat16, in another order
    assert torch.allclose(decoded, result.latents, atol=0.05)
