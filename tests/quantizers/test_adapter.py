"""Quantizers of vector-quantize-pytorch by name."""

import pytest
import torch

from toneme.kernels.errors import ShapeError
from toneme.quantizers.adapter import NOT_QUANTIZERS, PeerQuantizer, peer_names

package = pytest.importorskip("vector_quantize_pytorch", reason="the adapter is for vector-quantize-pytorch")

CASES = {
    "VectorQuantize": {"codebook_size": 16},
    "ResidualVQ": {"codebook_size": 16, "num_quantizers": 3},
    "GroupedResidualVQ": {"codebook_size": 16, "num_quantizers": 3, "groups": 2},
    "FSP": {"levels": [5, 4, 3]},
    "FSQ": {"levels": [5, 4, 3]},
    "ResidualFSQ": {"levels": [5, 4, 3], "num_quantizers": 2},
    "GroupedResidualFSQ": {"levels": [5, 4, 3], "num_quantizers": 3, "groups": 2},
    "LFQ": {"codebook_size": 64},
    "ResidualLFQ": {"codebook_size": 64, "num_quantizers": 3},
    "GroupedResidualLFQ": {"codebook_size": 64, "num_quantizers": 3, "groups": 2},
    "LatentQuantize": {"levels": [5, 4, 3]},
    "SimVQ": {"codebook_size": 16},
    "ResidualSimVQ": {"codebook_size": 16, "num_quantizers": 2},
    "HierarchicalVQ": {"codebook_size": 16, "scales": (3, 10, 40)},
    "RandomProjectionQuantizer": {"codebook_size": 16, "codebook_dim": 4},
}


def test_every_quantizer_of_the_package_is_tried():
    assert sorted(CASES) == peer_names(package)


@pytest.mark.parametrize("name", sorted(CASES))
def test_any_of_them_encodes_and_trains(name):
    torch.manual_seed(0)
    quantizer = PeerQuantizer(name, 12, **CASES[name])
    x = torch.randn(2, 12, 40, requires_grad=True)
    result = quantizer(x)
    assert result.latents.shape == x.shape
    assert result.codes.shape == (2, quantizer.depth, 40)
    assert result.usage.shape == (quantizer.depth,)
    (result.latents.square().sum() + result.commitment).backward()
    assert x.grad.abs().sum() > 0
    quantizer.eval()
    codes = quantizer.encode(x)
    assert torch.equal(codes, quantizer(x).codes)
    assert (codes < torch.tensor(quantizer.sizes)[:, None]).all()
    other = PeerQuantizer(name, 12, **CASES[name])
    other.load_state_dict(quantizer.state_dict())
    assert torch.equal(other.eval().encode(x), codes)


@pytest.mark.parametrize("name", sorted(set(CASES) - {"RandomProjectionQuantizer"}))
def test_codes_decode_to_what_forward_gave(name):
    torch.manual_seed(0)
    quantizer = PeerQuantizer(name, 12, **CASES[name])
    x = torch.randn(2, 12, 40)
    quantizer(x)
    result = quantizer.eval()(x)
    assert torch.allclose(quantizer.decode(result.codes), result.latents, atol=1e-5)


@pytest.mark.parametrize("name", sorted(name for name in CASES if "Residual" in name))
def test_fewer_codes_decode_as_the_peers_own_that_drops_stages(name):
    torch.manual_seed(0)
    quantizer, dropping = (PeerQuantizer(name, 12, **CASES[name], quantize_dropout=drops) for drops in (False, True))
    quantizer(torch.randn(2, 12, 40))
    dropping.load_state_dict(quantizer.state_dict())
    codes = quantizer.eval().encode(torch.randn(2, 12, 40), quantizer.groups or 1)
    found = quantizer.decode(codes)
    indices = codes.permute(1, 0, 2)[..., None] if quantizer.groups else codes.transpose(1, 2)
    assert torch.allclose(found, dropping.eval().peer.get_output_from_indices(indices).transpose(1, 2), atol=1e-6)


def test_codes_of_groups_are_neighbours():
    torch.manual_seed(0)
    quantizer = PeerQuantizer("GroupedResidualVQ", 12, **CASES["GroupedResidualVQ"]).eval()
    x = torch.randn(2, 12, 40)
    codes = quantizer.encode(x)
    for group, rvq in enumerate(quantizer.peer.rvqs):
        indices = rvq(x[:, 6 * group : 6 * group + 6].transpose(1, 2))[1]
        assert torch.equal(codes[:, group::2], indices.transpose(1, 2))


def test_unknown_names_depths_and_labels_only_are_refused():
    with pytest.raises(ShapeError, match=r"it has .*ResidualVQ"):
        PeerQuantizer("NoSuchVQ", 4)
    for name in NOT_QUANTIZERS:
        with pytest.raises(ShapeError, match="not a quantizer of latents"):
            PeerQuantizer(name, 4)
    quantizer = PeerQuantizer("RandomProjectionQuantizer", 12, codebook_size=16, codebook_dim=4)
    with pytest.raises(ShapeError, match="only gives labels"):
        quantizer.decode(torch.zeros(1, 1, 3, dtype=torch.int64))
    with pytest.raises(ShapeError, match="quantize_dropout"):
        quantizer(torch.zeros(1, 12, 3), depths=torch.tensor([1]))
