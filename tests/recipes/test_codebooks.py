"""Codebooks in training: their start, options, depths, and the watch over their use."""

import pytest
import torch

from toneme.quantizers.residual import ResidualVQ
from toneme.quantizers.split import SplitResidualVQ
from toneme.recipes.codebooks import Usage, draw_depths, rows_wanted, set_options, start_codebooks
from toneme.recipes.errors import RecipeError, TrainingError


def latents(dim: int = 6) -> torch.Tensor:
    return 3 + torch.randn(1, dim, 400, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("quantizer", [ResidualVQ(6, 16, 3), SplitResidualVQ(6, 16, 3, code_dim=4)])
def test_kmeans_brings_codes_nearer_than_chance(quantizer):
    def error() -> float:
        parts = [quantizer.semantic, quantizer.acoustic] if hasattr(quantizer, "semantic") else [quantizer]
        inside = [part.enter(latents()) if hasattr(part, "enter") else latents() for part in parts]
        books = [part.quantizer if hasattr(part, "enter") else part for part in parts]
        pairs = zip(books, inside, strict=True)
        return sum(float((book.decode(book.encode(x)) - x).detach().square().mean()) for book, x in pairs)

    before = error()
    start_codebooks(quantizer, latents())
    assert error() < 0.3 * before
    assert rows_wanted(quantizer) == 160


def test_options_reach_every_quantizer_inside():
    quantizer = SplitResidualVQ(6, 16, 3)
    set_options(quantizer, {"decay": 0.5})
    assert (quantizer.semantic.quantizer.decay, quantizer.acoustic.quantizer.decay) == (0.5, 0.5)
    with pytest.raises(RecipeError, match=r"quantizer\.options\.decai is unknown"):
        set_options(quantizer, {"decai": 0.5})


def test_depths_of_all_machines_are_those_of_one():
    def drawn(batch: int, rank: int, world: int) -> torch.Tensor:
        torch.manual_seed(3)
        return draw_depths(8, batch, 0.4, rank, world)

    whole = drawn(4000, 0, 1)
    assert torch.equal(whole, torch.cat([drawn(2000, 0, 2), drawn(2000, 1, 2)]))
    share = torch.bincount(whole, minlength=9).double() / 4000
    assert share[0] == 0
    assert share[8].item() == pytest.approx(0.4 + 0.6 / 8, abs=0.03)
    assert draw_depths(8, 4, 1.0, 0, 1) is None


def test_usage_counts_codes_of_the_last_steps_only():
    usage = Usage((4, 8), window=10)
    usage.see(torch.tensor([[[0, 1, 1], [0, 0, 0]]]), step=0)
    usage.see(torch.tensor([[[3, 3, 3], [1, 2, 3]]]), step=8)
    assert usage.shares(9).tolist() == [0.75, 0.5]
    assert usage.shares(11).tolist() == [0.25, 0.375]
    other = Usage((4, 8), window=10)
    other.load(usage.state())
    assert torch.equal(other.shares(9), usage.shares(9))


def test_streams_of_several_rates_are_counted():
    usage = Usage((4, 8), window=10)
    usage.see((torch.tensor([[[0]]]), torch.tensor([[[1, 2, 3]]])), step=0)
    assert usage.shares(0).tolist() == [0.25, 0.375]


def test_a_codebook_counts_as_collapsed_only_once_it_could_have_been_used():
    usage = Usage((8,), window=100)
    usage.see(torch.zeros(1, 1, 79, dtype=torch.int64), step=0)
    usage.check(0, 0.5)
    usage.see(torch.zeros(1, 1, 1, dtype=torch.int64), step=1)
    with pytest.raises(TrainingError, match=r"codebook 0 has collapsed: 12 % of its 8 codes were used in the last 100 steps"):
        usage.check(1, 0.5)
