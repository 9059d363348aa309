"""Residual codebooks that learn together: their codes, what draws them, and that it leaves less error than stage by stage."""

import pytest
import torch

from toneme.kernels import half_norms, rvq_encode
from toneme.kernels.beam import beam_encode, score
from toneme.quantizers.base import in_use, sample_depths
from toneme.quantizers.residual import BEAM_SHARE, ResidualVQ
from toneme.quantizers.together import codes_together, shared_targets, vectors_of


def books(depth: int = 3, size: int = 16, dim: int = 4) -> torch.Tensor:
    scale = 0.6 ** torch.arange(depth)[:, None, None]
    return scale * torch.randn(depth, size, dim, generator=torch.Generator().manual_seed(1))


def rows(count: int = 40, dim: int = 4) -> torch.Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(2))


def test_each_row_has_the_beams_codes_of_its_own_depth_and_the_nearest_codes_after():
    codebooks, x, depths = books(), rows(), torch.arange(40) % 4
    on = torch.arange(3)[:, None] < depths
    codes = codes_together(x, on, codebooks, half_norms(codebooks), 4)
    for row, depth, found in zip(x, depths.tolist(), codes, strict=True):
        first = beam_encode(row[None], codebooks[:depth], 4) if depth else torch.zeros(1, 0, dtype=torch.int64)
        left = row[None] - vectors_of(first, codebooks[:depth]).sum(0)
        rest = rvq_encode(left, codebooks[depth:]) if depth < 3 else first[:, :0]
        assert torch.equal(found[None], torch.cat([first, rest], dim=1))


def test_targets_draw_down_the_gradient_of_what_the_beam_makes_small():
    codebooks, x = books().double().requires_grad_(), rows().double()
    codes = beam_encode(x, codebooks.detach(), 4)
    score(x, codebooks, codes).sum().backward()
    chosen = vectors_of(codes, codebooks.detach())
    steps = shared_targets(x, chosen, torch.ones(3, len(x), dtype=torch.bool)) - chosen
    weights = torch.tensor([1.5, 1.25, 1.0]).double()  # 0.25 for each stage but the last, from a stage on
    sums = torch.zeros_like(codebooks)
    for stage in range(3):
        sums[stage].index_add_(0, codes[:, stage], steps[stage])
    assert torch.allclose(codebooks.grad, -2 * weights[:, None, None] * sums, atol=1e-9)  # 64 bits


def test_a_row_of_fewer_stages_draws_as_if_there_were_no_others():
    codebooks, x = books(), rows()
    chosen = vectors_of(beam_encode(x, codebooks, 4), codebooks)
    on = torch.tensor([True, True, False])[:, None].expand(3, len(x))
    short = shared_targets(x, chosen[:2], on[:2])
    assert torch.allclose(shared_targets(x, chosen * on[..., None], on)[:2], short, atol=1e-6)


def drawn(count: int) -> torch.Tensor:
    """Vectors [1, 16, count] with structure."""
    mixing = torch.randn(16, 16, generator=torch.Generator().manual_seed(3)) / 4
    return ((torch.randn(count, 16) @ mixing).relu() + 0.3 * torch.randn(count, 16) @ mixing).T[None]


def trained(beam: int) -> ResidualVQ:
    torch.manual_seed(0)
    quantizer = ResidualVQ(16, 32, 4, decay=0.97)
    quantizer.start(drawn(3000)[0].T)
    quantizer.training_beam = beam
    for _ in range(250):
        with torch.no_grad():
            quantizer(drawn(400).view(1, 16, 4, 100)[0].transpose(0, 1), sample_depths(4, 4, 0.4))
    return quantizer.eval()


def error(quantizer: ResidualVQ, beam: int, depth: int) -> float:
    torch.manual_seed(9)
    x = drawn(2000)
    quantizer.beam = beam
    return float((x - quantizer.decode(quantizer.encode(x, depth))).square().sum(1).mean())


@pytest.fixture(scope="module")
def quantizers() -> tuple[ResidualVQ, ResidualVQ]:
    return trained(1), trained(8)


def test_codebooks_that_learned_together_leave_less_to_a_beam(quantizers):
    alone, together = quantizers
    assert error(together, 8, 4) < 0.99 * error(alone, 8, 4)


def test_and_no_more_to_the_nearest_codes(quantizers):
    alone, together = quantizers
    for depth in (1, 2, 4):
        assert error(together, 1, depth) < 1.02 * error(alone, 1, depth)


def test_codebooks_that_do_not_learn_stand_still_while_what_decodes_them_learns():
    quantizer = ResidualVQ(4, 16, 3)
    quantizer.start(rows(200))
    quantizer.training_beam, quantizer.beam = 8, 8
    before, best = quantizer.codebooks.clone(), quantizer.eval().encode(rows(60).T[None])
    assert any(torch.equal(quantizer(rows(60).T[None]).codes, best) for _ in range(12))
    assert torch.equal(quantizer.codebooks, before)


def test_passes_with_and_without_a_beam_both_occur_and_repeat_with_the_seed():
    quantizer, x = ResidualVQ(4, 16, 3, decay=1.0), rows(60).T[None]  # codebooks that stand still
    quantizer.start(rows(200))
    quantizer.training_beam = 8

    def passes():
        torch.manual_seed(5)
        return [quantizer(x).codes for _ in range(12)]

    first, nearest = passes(), quantizer.encode(x)
    quantizer.beam = 8
    best = quantizer.encode(x)
    assert not torch.equal(nearest, best)
    kinds = ["nearest" if torch.equal(codes, nearest) else "beam" for codes in first]
    assert set(kinds) == {"nearest", "beam"}
    assert all(torch.equal(codes, best) for codes, kind in zip(first, kinds, strict=True) if kind == "beam")
    assert all(torch.equal(a, b) for a, b in zip(first, passes(), strict=True))


def test_the_gradient_and_the_losses_are_those_of_the_codes_chosen():
    torch.manual_seed(0)
    quantizer = ResidualVQ(4, 16, 3, decay=1.0)
    quantizer.start(rows(200))
    quantizer.training_beam = 8
    x, upstream = rows(60).view(2, 30, 4).transpose(1, 2).requires_grad_(), torch.randn(2, 4, 30)
    torch.manual_seed(next(seed for seed in range(9) if torch.manual_seed(seed) and torch.rand(()) < BEAM_SHARE))
    depths = torch.tensor([2, 3])
    result = quantizer(x, depths)
    on = in_use(depths, 3, 2, 30, x.device)
    vectors = vectors_of(result.codes.transpose(1, 2).flatten(0, 1), quantizer.codebooks) * on[..., None]
    assert torch.allclose(result.latents.transpose(1, 2).flatten(0, 1), vectors.sum(0), atol=1e-6)
    left = x.detach().transpose(1, 2).flatten(0, 1) - vectors.cumsum(0)
    squared = left.square().mean(2)
    expected = sum(squared[stage][on[stage]].mean() for stage in range(3)) / 3
    assert torch.allclose(result.commitment, expected, atol=1e-6)
    (result.latents * upstream).sum().backward()
    assert torch.allclose(x.grad, upstream, atol=1e-6)
