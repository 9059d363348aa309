"""Writing: what was learned comes out again, by the pattern's rules, on from a prompt, guided or not."""

import pytest
import torch

from toneme.codecs.errors import ShapeError
from toneme.lm.models.sampling import Sampling
from toneme.lm.models.writing import write, write_codes

from .made import ONE, SIZES, TWO, make_model, teach

SURE = Sampling(temperature=0)


@pytest.fixture(scope="module", params=["delay", "depth"])
def taught(request):
    model = make_model(request.param)
    teach(model, 120)
    return model


def test_what_was_learned_comes_out_and_ends_where_it_ended(taught):
    assert torch.equal(write_codes(taught, 50, "one", sampling=SURE), ONE)
    assert torch.equal(write_codes(taught, 50, "two", sampling=SURE), TWO)
    assert torch.equal(write_codes(taught, 5, "two", sampling=SURE), TWO[..., :5])


def test_a_prompt_is_continued(taught):
    for prompt in (1, 4, 9):
        assert torch.equal(write_codes(taught, 50, "two", TWO[..., :prompt], SURE), TWO)
    guided = Sampling(temperature=0, guidance=1.5)
    assert torch.equal(write_codes(taught, 50, "one", ONE[..., :3], guided), ONE)


def test_a_prompt_stays_though_the_model_would_write_otherwise(taught):
    assert torch.equal(write_codes(taught, 20, "one", TWO, SURE)[..., :9], TWO)


def test_a_prompt_comes_to_where_codes_are_drawn(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.Tensor, "cpu", lambda x: calls.append(x) or x)  # as from a GPU
    model = make_model("delay").eval()
    write_codes(model, 4, "two", TWO[..., :4], SURE)
    assert any(x.shape == (1, len(SIZES), 4) for x in calls)


@pytest.mark.parametrize("frames", [1, 4, 15])
def test_a_length_that_is_asked_for_is_kept(taught, frames):
    assert write_codes(taught, 50, "two", sampling=Sampling(), frames=frames).shape[-1] == frames


@pytest.mark.parametrize("kind", ["delay", "depth"])
def test_an_untrained_model_writes_allowed_ids_only(kind):
    model, generator = make_model(kind).eval(), torch.Generator().manual_seed(0)
    for _ in range(5):
        steps = model.pattern.generator()
        for column in write(model, steps, 20, sampling=Sampling(temperature=5.0), generator=generator):
            allowed = model.pattern.allowed_ids(steps.step, steps.frames)
            ends = int(column[0, 0]) == SIZES[0]
            assert all(
                int(i) in own or (row == 0 and ends) for row, (i, own) in enumerate(zip(column[0], allowed, strict=True))
            )
            steps.push(column)
        model.pattern.check_range(model.pattern.revert(steps.sequence))


def test_a_seed_says_what_is_drawn(taught):
    def drawn(seed):
        generator = torch.Generator().manual_seed(seed)
        return write_codes(taught, 30, None, sampling=Sampling(temperature=3.0), generator=generator, frames=30)

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


def test_prompts_that_do_not_fit_are_refused(taught):
    with pytest.raises(ShapeError, match=r"a prompt is \[1, 3, at most 5 frames\]; got \[1, 3, 9\]"):
        write_codes(taught, 5, "two", TWO)
    with pytest.raises(ShapeError, match="must be from 0 to 5; got 9"):
        write_codes(taught, 50, "two", torch.full((1, 3, 2), 9) * torch.tensor([0, 0, 1])[:, None])
