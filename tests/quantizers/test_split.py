"""Split residual quantization: depths of items wherever they lie."""

import pytest
import torch

from toneme.quantizers import base
from toneme.quantizers.residual import ResidualVQ
from toneme.quantizers.split import SplitResidualVQ


def test_depths_may_lie_on_another_device_than_the_latents(monkeypatch: pytest.MonkeyPatch):
    unknown = torch.zeros(4, device="meta")  # such tensors have no numbers to be searched or counted
    monkeypatch.setattr(base, "measure", lambda codes, sizes: (unknown, unknown))
    monkeypatch.setattr(ResidualVQ, "search", lambda self, rows, *stages: rows.new_zeros(len(rows), 1, dtype=torch.int64))
    quantizer = SplitResidualVQ(16, 32, 4, code_dim=8).eval().to("meta")
    result = quantizer(torch.zeros(2, 16, 5, device="meta"), torch.tensor([1, 3]))
    assert result.latents.shape == (2, 16, 5)
