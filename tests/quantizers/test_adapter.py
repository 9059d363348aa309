"""Quantizers of vector-quantize-pytorch by name."""

import pytest
import torch

from toneme.kernels.errors import ShapeError
from toneme.quantizers.adapter import PeerQuantizer

pytest.importorskip("vector_quantize_pytorch", reason="the adapter is for vector-quantize-pytorch")

CASES = {
    "VectorQuantize": {"codebook_size": 16},
    "ResidualVQ": {"codebook_size": 16, "num_quantizers": 3},
    "GroupedResidualVQ": {"codebook_size": 16, "num_quantizers": 2, "groups": 2, "sizes": (16,) * 4},
    "FSQ": {"levels": [5, 4, 3]},
    "ResidualFSQ": {"levels": [5, 4, 3], "num_quantizers": 2},
    "LFQ": {"codebook_size": 64},
    "SimVQ": {"codebook_size": 16},
    "ResidualSimVQ": {"codebook_size": 16, "num_quantizers": 2},
    "RandomProjectionQuantizer": {"codebook_size": 16, "codebook_dim": 4},
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_any_of_them_encodes_and_trains(name):
    torch.manual_seed(0)
    quantizer = PeerQuantizer(name, 12, **CASES[name])
    x = torch.randn(2, 12, 40, requires_grad=True)
    result = quantizer(x)
    assert result.latents.shape == x.shape
    assert result.codes.shape == (2, quantizer.depth, 40)
    assert result.usage.shape == (quantizer.depth,)
    quantizer.eval()
    codes = quantizer.encode(x)
    assert torch.equal(codes, quantizer(x).codes)
    assert (codes < torch.tensor(quantizer.sizes)[:, None]).all()


@pytest.mark.parametrize("name", ["VectorQuantize", "ResidualVQ", "FSQ", "ResidualFSQ", "LFQ", "SimVQ"])
def test_codes_decode_to_what_forward_gave(name):
    torch.manual_seed(0)
    quantizer = PeerQuantizer(name, 12, **CASES[name])
    x = torch.randn(2, 12, 40)
    quantizer(x)
    result = quantizer.eval()(x)
    assert torch.allclose(quantizer.decode(result.codes), result.latents, atol=1e-5)


def test_unknown_names_depths_and_labels_only_are_refused():
    with pytest.raises(ShapeError, match=r"it has .*ResidualVQ"):
        PeerQuantizer("NoSuchVQ", 4)
    quantizer = PeerQuantizer("RandomProjectionQuantizer", 12, codebook_size=16, codebook_dim=4)
    with pytest.raises(ShapeError, match="only gives labels"):
        quantizer.decode(torch.zeros(1, 1, 3, dtype=torch.int64))
    with pytest.raises(ShapeError, match="quantize_dropout"):
        quantizer(torch.zeros(1, 12, 3), depths=torch.tensor([1]))
