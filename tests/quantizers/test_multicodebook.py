"""Multi-codebook VQ: refinement helps, and training improves what it decodes."""

import pytest
import torch

from toneme.kernels.errors import ShapeError
from toneme.quantizers.multicodebook import MultiCodebookVQ


def test_refinement_comes_closer_than_the_proposal():
    torch.manual_seed(0)
    x = torch.randn(1, 8, 300)
    quantizer = MultiCodebookVQ(8, 16, 4, refinements=0)
    proposed = quantizer(x).codebook
    quantizer.refinements = 5
    refined = quantizer(x)
    assert refined.codebook < 0.7 * proposed
    again = quantizer.choose(x[0].T)
    assert torch.equal(again, refined.codes[0].T)


def test_training_improves_codes_and_proposal():
    torch.manual_seed(0)
    x = torch.randn(1, 8, 400)
    quantizer = MultiCodebookVQ(8, 16, 4)
    optimizer = torch.optim.Adam(quantizer.parameters(), 0.02)
    before = quantizer(x)
    for _ in range(60):
        result = quantizer(x)
        optimizer.zero_grad()
        (result.codebook + 0.1 * result.entropy).backward()
        optimizer.step()
    after = quantizer(x)
    assert after.codebook < 0.6 * before.codebook
    assert after.entropy < before.entropy


def test_fewer_codebooks_are_refused():
    x, quantizer = torch.randn(2, 8, 20), MultiCodebookVQ(8, 16, 4)
    codes = quantizer.encode(x, 4)
    depths = torch.tensor([4, 2])
    for call in (lambda: quantizer.encode(x, 2), lambda: quantizer.decode(codes[:, :2]), lambda: quantizer(x, depths)):
        with pytest.raises(ShapeError, match="none can be left out; got depth 2"):
            call()
    assert torch.equal(quantizer(x, torch.tensor([4, 4])).codes, codes)
