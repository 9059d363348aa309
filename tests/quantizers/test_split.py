"""Split residual quantization: depths of items wherever they lie, and what each branch has of losses and gradients."""

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


@pytest.mark.parametrize("semantic", [1, 2])
def test_losses_and_use_are_those_of_the_branches(semantic):
    torch.manual_seed(0)
    quantizer, x = SplitResidualVQ(6, 16, 5, semantic=semantic, code_dim=4).eval(), torch.randn(2, 6, 30)
    quantizer.acoustic.quantizer.counts[:, :4] = 0  # codes that nothing took for long
    result = quantizer(x)
    parts = [part.quantizer(part.enter(x)) for part in (quantizer.semantic, quantizer.acoustic)]
    assert [part.codes.shape[1] for part in parts] == [semantic, 5 - semantic]
    assert torch.equal(result.codes, torch.cat([part.codes for part in parts], dim=1))
    assert result.usage.tolist() == [1.0] * semantic + [0.75] * (5 - semantic)
    assert torch.equal(result.usage, torch.cat([part.usage for part in parts]))
    stages = sum(part.commitment * part.codes.shape[1] for part in parts)  # a mean over all stages
    assert torch.allclose(result.commitment, stages / 5)


def test_items_without_acoustic_codes_leave_that_branch_alone():
    torch.manual_seed(0)
    quantizer = SplitResidualVQ(6, 16, 4, code_dim=4)
    quantizer(torch.randn(2, 6, 30), torch.tensor([1, 1])).latents.sum().backward()
    assert quantizer.semantic.enter.weight.grad.any()
    assert not quantizer.acoustic.enter.weight.grad.any()
