"""LFQ and BSQ: signs to bits, entropies against the full table, and vector-quantize-pytorch's codes and gradients."""

import pytest
import torch

from toneme.quantizers import lookup_free
from toneme.quantizers.lookup_free import BSQ, LFQ

peers = pytest.importorskip("vector_quantize_pytorch", reason="vector-quantize-pytorch is the peer compared with")


@pytest.mark.parametrize("kind", [LFQ, BSQ])
def test_codes_losses_and_gradients_equal_the_peers(kind):
    ours, spherical = kind(6, inverse_temperature=3.0), kind is BSQ
    peer = peers.LFQ(dim=6, codebook_size=64, spherical=spherical, commitment_loss_weight=1.0)
    a = torch.randn(2, 6, 40, generator=torch.Generator().manual_seed(0))
    a[:, 0, :3] = 0  # neither sign
    a.requires_grad_()
    b = a.detach().clone().requires_grad_()
    result = ours(a)
    out, parts = peer(b.transpose(1, 2), inv_temperature=3.0, return_loss_breakdown=True)
    assert torch.equal(result.codes[:, 0], out.indices.long())
    assert torch.equal(ours.encode(a), result.codes)
    entropy = parts.per_sample_entropy - parts.batch_entropy
    assert torch.allclose(result.entropy, entropy, atol=1e-4)  # the peer sums 64 probabilities, we six bits
    assert torch.allclose(result.commitment, parts.commitment)
    upstream = torch.randn(2, 6, 40)
    (result.latents * upstream).sum().add(result.commitment + result.entropy).backward()
    (out.quantized.transpose(1, 2) * upstream).sum().add(parts.commitment + entropy).backward()
    assert torch.allclose(a.grad, b.grad, atol=1e-4)


def test_the_defaults_are_the_peers():
    x = torch.randn(1, 6, 40, generator=torch.Generator().manual_seed(0)) / 50  # so near to zero that signs are not certain
    parts = peers.LFQ(dim=6, codebook_size=64)(x.transpose(1, 2), return_loss_breakdown=True)[1]
    entropy = parts.per_sample_entropy - parts.batch_entropy
    assert parts.per_sample_entropy > 0.01
    assert torch.allclose(LFQ(6)(x).entropy, entropy, atol=1e-4)


@pytest.mark.parametrize("kind", [LFQ, BSQ])
def test_diversity_weighs_the_entropy_of_the_batch(kind):
    x = torch.randn(1, 6, 40, generator=torch.Generator().manual_seed(0))
    none, one, three = (kind(6, inverse_temperature=3.0, diversity=weight)(x).entropy for weight in (0.0, 1.0, 3.0))
    assert none > one
    assert torch.allclose(none - three, 3 * (none - one))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_codes_are_decoded_in_the_type_of_the_weights(dtype):
    quantizer = LFQ(6, 12).to(dtype)
    assert quantizer.decode(torch.arange(64)[None, None]).dtype == dtype


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
