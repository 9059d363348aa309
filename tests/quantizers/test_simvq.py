"""SimVQ against vector-quantize-pytorch."""

import pytest
import torch

from toneme.quantizers.simvq import SimVQ

peers = pytest.importorskip("vector_quantize_pytorch", reason="vector-quantize-pytorch is the peer compared with")


@pytest.mark.parametrize("gradient", ["rotation", "straight_through"])
def test_codes_and_gradients_equal_the_peers(gradient):
    torch.manual_seed(0)
    ours, peer = SimVQ(8, 64, gradient=gradient), peers.SimVQ(dim=8, codebook_size=64, rotation_trick=gradient == "rotation")
    peer.frozen_codebook.copy_(ours.frozen)
    peer.code_transform.load_state_dict(ours.map.state_dict())
    a = torch.randn(2, 8, 40).requires_grad_()
    b, upstream = a.detach().clone().requires_grad_(), torch.randn(2, 8, 40)
    result, (out, indices, loss) = ours(a), peer(b.transpose(1, 2))
    assert torch.equal(result.codes[:, 0], indices)
    (result.latents * upstream).sum().add(result.codebook + 0.25 * result.commitment).backward()
    (out.transpose(1, 2) * upstream).sum().add(loss).backward()
    assert torch.allclose(a.grad, b.grad, atol=1e-5)
    if gradient == "straight_through":  # through the rotation the peer's upstream gradient reaches the codes as well
        assert torch.allclose(ours.map.weight.grad, peer.code_transform.weight.grad, atol=1e-5)


def test_codes_are_the_nearest_and_decode_gives_their_vectors():
    ours, x = SimVQ(6, 32), torch.randn(2, 6, 9)
    codes = ours.encode(x)
    assert ours.sizes == (32,)
    assert codes.shape == (2, 1, 9)
    assert torch.equal(codes[:, 0], torch.cdist(x.transpose(1, 2), ours.codebook.expand(2, -1, -1)).argmin(-1))
    assert torch.equal(codes, ours(x).codes)
    assert torch.allclose(ours.decode(codes), ours.codebook[codes[:, 0]].transpose(1, 2), atol=1e-6)  # products of other shapes
