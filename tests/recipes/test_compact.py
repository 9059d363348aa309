"""Compact states: how near, how small, and that a run goes on from one."""

import pytest
import torch

from toneme.recipes.compact import pack_half, pack_linear, pack_positive, unpack, unpack_all
from toneme.recipes.state import COMPACT, exact_states, expand, gather, restore, shrink

from .runs import CRITICS, small


def values(seed: int = 0) -> torch.Tensor:
    return torch.randn(70, 100, generator=torch.Generator().manual_seed(seed)) * torch.logspace(-4, 0, 70)[:, None]


def test_weights_come_back_as_half_precision_has_them():
    assert torch.equal(unpack(pack_half(values())), values().half().float())


def test_weights_too_large_for_half_precision_come_back_as_brain_floats():
    large = values() * 1e6
    assert torch.equal(unpack(pack_half(large)), large.bfloat16().float())


def test_first_moments_are_within_half_a_step_of_their_block():
    blocks = torch.nn.functional.pad(values().flatten(), (0, -7000 % 256)).view(-1, 256)
    apart = torch.nn.functional.pad((unpack(pack_linear(values())) - values()).flatten(), (0, -7000 % 256)).view(-1, 256)
    assert (apart.abs() <= blocks.abs().amax(1, keepdim=True) / 62 * 1.001).all()


def test_second_moments_keep_their_size_over_nine_decades():
    moments = values().square()
    back = unpack(pack_positive(moments))
    assert (back > 0).all()
    large = moments > 1e-5 * moments.flatten()[: 27 * 256].max()
    assert ((back / moments)[large].log().abs() < 0.7).all()
    assert (back / moments)[large].log().abs().median() < 0.05


def test_what_is_not_packed_stays_as_it_is():
    mixed = {"a": 3, "b": [pack_half(values()), "x"], "c": torch.arange(3)}
    back = unpack_all(mixed)
    assert (back["a"], back["b"][1]) == (3, "x")
    assert torch.equal(back["b"][0], values().half().float())


def test_a_run_goes_on_from_its_compact_state(audio, tmp_path):
    small(audio, tmp_path / "run", *CRITICS).run()
    folder = tmp_path / "run" / "states"
    for path in exact_states(folder):
        path.unlink()
    assert (folder / COMPACT).is_file()
    assert small(audio, tmp_path / "run", *CRITICS, "steps=10").run(resume=True) == 10


def test_codebooks_come_back_exactly_and_their_sums_follow(audio, tmp_path):
    trainer = small(audio, tmp_path / "run")
    for _ in range(4):
        trainer.take_step()
    before = trainer.model.quantizer.codebooks.clone()
    sums = trainer.model.quantizer.sums.clone()
    restore(trainer, expand(shrink(gather(trainer))))
    assert torch.equal(before, trainer.model.quantizer.codebooks)
    torch.testing.assert_close(trainer.model.quantizer.sums, sums)


@pytest.mark.slow
def test_ten_million_parameters_with_discriminators_fit_in_60_megabytes_and_cost_little(audio, tmp_path):
    from toneme.recipes.recipe import read_recipe
    from toneme.recipes.trainer import Trainer

    settings = [
        "batch=2", "seconds=0.5", "data.workers=0", "quantizer.from_step=0", "adversarial.from_step=0", "precision=fp32",
        "quantizer.kmeans=false", "optimizer.warmup=0", "data.bank=false", f"data.train={audio}",
    ]  # fmt: skip
    trainer = Trainer(read_recipe("toneme_24k", settings), tmp_path / "run")
    assert sum(p.numel() for p in trainer.model.parameters()) > 10e6
    for _ in range(6):
        trainer.take_step()
    state = gather(trainer)
    torch.save(shrink(state), tmp_path / "small.pt")
    assert (tmp_path / "small.pt").stat().st_size < 60e6
    torch.save(state, tmp_path / "whole.pt")
    expected = [trainer.take_step()["spectral"] for _ in range(4)]
    restore(trainer, expand(torch.load(tmp_path / "small.pt", weights_only=True)))
    found = [trainer.take_step()["spectral"] for _ in range(4)]
    assert found == pytest.approx(expected, rel=0.05)  # each step adds to what the one before was off
