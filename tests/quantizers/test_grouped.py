"""Grouped quantization: each group by itself, codes in the order of depth."""

import pytest
import torch

from toneme.kernels.errors import ShapeError
from toneme.quantizers.grouped import Grouped
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
