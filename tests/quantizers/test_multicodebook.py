"""Multi-codebook VQ: refinement helps, and training improves what it decodes."""

import torch

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
