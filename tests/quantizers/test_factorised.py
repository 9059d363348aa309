"""Factorised residual quantization: encode is the chain that forward walks, and a code learns from its members."""

import torch

from toneme.quantizers.factorised import ResidualFactorisedVQ


def test_encode_is_the_chain_of_forward():
    torch.manual_seed(0)
    quantizer = ResidualFactorisedVQ(48, 64, 5)
    x = torch.randn(2, 48, 200)
    assert torch.equal(quantizer(x).codes, quantizer.encode(x))


def test_losses_move_codes_and_inputs_towards_each_other():
    torch.manual_seed(0)
    quantizer = ResidualFactorisedVQ(16, 32, 2, code_dim=4)
    optimizer = torch.optim.Adam(quantizer.parameters(), 0.01)
    x = torch.randn(4, 16, 100)
    before = (quantizer(x).latents - x).square().mean()
    for _ in range(150):
        result = quantizer(x)
        optimizer.zero_grad()
        ((result.latents - x).square().mean() + result.codebook + 0.25 * result.commitment).backward()
        optimizer.step()
    assert (quantizer(x).latents - x).square().mean() < 0.7 * before


def test_upstream_compat_sends_gradients_through_the_residual():
    def gradient(**options):
        torch.manual_seed(0)
        quantizer = ResidualFactorisedVQ(16, 32, 3, code_dim=4, **options)
        x = torch.randn(1, 16, 20, requires_grad=True)
        result = quantizer(x)
        result.latents.square().sum().backward()
        return result.latents, x.grad

    (a, da), (b, db) = gradient(), gradient(upstream_compat=True)
    assert torch.equal(a, b)
    assert not torch.allclose(da, db)
