"""LFQ and BSQ: signs to bits, entropies against the full table, and vector-quantize-pytorch's codes and gradients."""

import pytest
import torch

from toneme.quantizers import lookup_free
from toneme.quantizers.lookup_free import BSQ, LFQ

peers = pytest.importorskip("vector_quantize_pytorch", reason="vector-quantize-pytorch is the peer compared with")


@pytest.mark.parametrize("spherical", [False, True])
def test_codes_losses_and_gradients_equal_the_peers(spherical):
    ours = LFQ(6, spherical=spherical, inverse_temperature=3.0)
    peer = peers.LFQ(dim=6, codebook_size=64, spherical=spherical, commitment_loss_weight=1.0)
    a = torch.randn(2, 6, 40, generator=torch.Generator().manual_seed(0)).requires_grad_()
    b = a.detach().clone().requires_grad_()
    result = ours(a)
    out, parts = peer(b.transpose(1, 2), inv_temperature=3.0, return_loss_breakdown=True)
    assert torch.equal(result.codes[:, 0], out.indices.long())
    entropy = parts.per_sample_entropy - parts.batch_entropy
    assert torch.allclose(result.entropy, entropy, atol=1e-4)  # the peer sums 64 probabilities, we six bits
    assert torch.allclose(result.commitment, parts.commitment)
    upstream = torch.randn(2, 6, 40)
    (result.latents * upstream).sum().add(result.commitment + result.entropy).backward()
    (out.quantized.transpose(1, 2) * upstream).sum().add(parts.commitment + entropy).backward()
    assert torch.allclose(a.grad, b.grad, atol=1e-4)


def test_many_bits_cost_no_table():
    result = BSQ(36)(torch.randn(1, 36, 50))
    assert result.codes.amax() < 2**36
    assert result.entropy.isfinite()
    assert torch.allclose(result.latents.norm(dim=1), torch.ones(1, 50))


def test_the_bound_on_the_batchs_entropy_is_met_by_bits_that_are_independent(monkeypatch: pytest.MonkeyPatch):
    chances = torch.tensor([0.1, 0.5, 0.8])
    rows = torch.cartesian_prod(*torch.stack([chances - 0.1, chances + 0.1], 1).unbind(0))
    exact = LFQ(3)._batch_entropy(rows)
    monkeypatch.setattr(lookup_free, "TABLE_BITS", 0)
    assert torch.allclose(LFQ(3)._batch_entropy(rows), exact, atol=1e-5)


@pytest.mark.parametrize("bits", [6, 20])
def test_losses_of_half_precision_have_finite_gradients(bits):
    x = torch.randn(1, bits, 50, generator=torch.Generator().manual_seed(0)).half().requires_grad_()
    LFQ(bits)(x).entropy.backward()
    assert x.grad.isfinite().all()
