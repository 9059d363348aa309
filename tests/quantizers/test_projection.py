"""Random projection: labels that only the seed decides, and those of vector-quantize-pytorch."""

import pytest
import torch

from toneme.quantizers.projection import RandomProjectionQuantizer

DIM = 12


def test_labels_are_the_seeds():
    a, b = (RandomProjectionQuantizer(DIM, 16, code_dim=4, depth=2, seed=3) for _ in range(2))
    x = torch.randn(2, DIM, 40)
    codes = a.encode(x)
    assert torch.equal(codes, b.encode(x))
    assert torch.equal(codes, a.encode(5 * x + 2)), "labels do not depend on the level of the features"
    assert codes.shape == (2, 2, 40)
    assert a.sizes == (16, 16)
    assert torch.allclose(a.decode(codes).norm(dim=1), torch.tensor(2.0).sqrt())
    directions = torch.nn.functional.layer_norm(x[0, :, 0], (DIM,)) @ a.projections[1]
    assert codes[0, 1, 0] == (directions @ a.codebooks[1].T).argmax()


@pytest.mark.parametrize("normalise", [False, True])
def test_labels_equal_the_peers(normalise):
    """Of one codebook: before several the peer puts a linear layer with random weights, which the paper does not have."""
    peers = pytest.importorskip("vector_quantize_pytorch", reason="vector-quantize-pytorch is the peer compared with")
    ours = RandomProjectionQuantizer(DIM, 64, code_dim=6, normalise=normalise)
    peer = peers.RandomProjectionQuantizer(dim=DIM, codebook_size=64, codebook_dim=6, norm=normalise)
    peer.rand_projs.copy_(ours.projections)
    peer.vq._codebook.embed.data.copy_(ours.codebooks)
    x = 3 * torch.randn(2, DIM, 200, generator=torch.Generator().manual_seed(0)) + 1
    labels = peer(x.transpose(1, 2))
    assert torch.equal(ours.encode(x), labels[:, None])


def test_depth_state_and_usage():
    ours, other = RandomProjectionQuantizer(DIM, 16, depth=3, seed=1), RandomProjectionQuantizer(DIM, 16, depth=3, seed=2)
    x = torch.randn(1, DIM, 500)
    assert torch.equal(ours.encode(x, 2), ours.encode(x)[:, :2])
    other.load_state_dict(ours.state_dict())
    assert torch.equal(other.encode(x), ours.encode(x))
    result = ours(x)
    assert torch.equal(result.codes, ours.encode(x))
    assert (result.usage > 0.9).all()
    assert not result.commitment.any()
    assert not list(ours.parameters())
