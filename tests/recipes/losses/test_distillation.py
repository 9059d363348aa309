"""Distillation by hand: the axes of the cosine, lengths, shapes that the released code got wrong, language models."""

import pytest
import torch
from torch.nn import functional as F

from toneme.kernels.errors import ShapeError
from toneme.recipes.errors import RecipeError
from toneme.recipes.losses import build_loss
from toneme.recipes.losses.distillation import pool_frames, spread_tokens

NAMES = ["d_axis", "t_axis", "semantic_mse", "cosine"]


def features(frames: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.randn(2, frames, 4, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", NAMES)
def test_frames_past_an_items_length_do_not_count(name):
    ours, theirs, lengths = features(), features(seed=1), torch.tensor([6, 3])
    loss = build_loss(name)
    cut = torch.cat([ours[1:, :3], torch.full((1, 3, 4), 99.0)], dim=1)
    changed = torch.cat([ours[:1], cut])
    assert loss(ours, theirs, lengths).item() == pytest.approx(loss(changed, theirs, lengths).item(), rel=1e-6)
    assert loss(ours, theirs).item() != pytest.approx(loss(changed, theirs).item(), rel=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_features_with_a_batch_axis_of_their_own_are_refused(name):
    with pytest.raises(ShapeError, match="drop axes of one"):
        build_loss(name)(features(), features()[:, None])


@pytest.mark.parametrize("name", NAMES)
def test_the_shorter_one_sets_the_frames_and_the_teacher_gets_no_gradient(name):
    ours, theirs = features().requires_grad_(), features(5, seed=1).requires_grad_()
    build_loss(name)(ours, theirs).backward()
    assert theirs.grad is None
    assert ours.grad[:, :5].abs().min() > 0
    assert not ours.grad[:, 5:].any()


def test_equal_features_cost_what_the_formula_says():
    assert build_loss("cosine")(features(), 7 * features()).item() == pytest.approx(0, abs=1e-6)
    assert build_loss("semantic_mse")(features(), features()).item() == 0
    assert build_loss("d_axis")(features(), features()).item() == pytest.approx(0.31326, abs=1e-5)  # log(1 + 1/e)


def test_mean_squares_and_cosines_are_those_of_torch():
    ours, theirs = features(), features(seed=1)
    assert build_loss("semantic_mse")(ours, theirs).item() == pytest.approx(F.mse_loss(ours, theirs).item())
    expected = 1 - F.cosine_similarity(ours, theirs, dim=2).mean()
    assert build_loss("cosine")(ours, theirs).item() == pytest.approx(expected.item())


def test_the_d_axis_is_time_and_the_t_axis_is_not():
    gains = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert build_loss("d_axis")(features() * gains, features()).item() == pytest.approx(0.31326, abs=1e-5)
    assert build_loss("cosine")(features() * gains, features()).item() > 0.01


def test_the_centred_axis_is_a_correlation_which_no_offset_changes():
    ours, theirs, centred = features(), features(seed=1), build_loss("d_axis", centred=True)
    tables = zip(ours.transpose(1, 2).flatten(0, 1), theirs.transpose(1, 2).flatten(0, 1), strict=True)
    correlations = torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in tables])
    assert centred(ours, theirs).item() == pytest.approx(-F.logsigmoid(correlations).mean().item(), rel=1e-5)
    assert centred(ours + 100, theirs + 9).item() == pytest.approx(centred(ours, theirs).item(), rel=1e-3)
    assert build_loss("d_axis")(ours + 100, theirs + 100).item() == pytest.approx(0.31326, abs=1e-3)  # the offset's alone
    with pytest.raises(RecipeError, match="d_axis"):
        build_loss("d_axis", centered=True)


@pytest.mark.parametrize("lengths", [[6, 3], [6, 1], [6, 0]])
def test_the_centred_axis_has_the_mean_of_the_frames_that_count(lengths):
    ours, theirs, loss = features(), features(seed=1), build_loss("d_axis", centred=True)
    kept = lengths[1]
    cut = torch.cat([ours[:1], torch.cat([ours[1:, :kept], torch.full((1, 6 - kept, 4), 99.0)], dim=1)])
    assert loss(ours, theirs, torch.tensor(lengths)).item() == pytest.approx(
        loss(cut, theirs, torch.tensor(lengths)).item(), rel=1e-6
    )


def test_a_language_model_guides_beside_a_speech_model():
    loss, ours = build_loss("language_guided", weights={"speech": 0.75, "text": 0.25}), features()
    teachers, plain = {"speech": features(seed=1), "text": features(seed=2)}, build_loss("d_axis")
    expected = 0.75 * plain(ours, teachers["speech"]) + 0.25 * plain(ours, teachers["text"])
    assert loss(ours, teachers).item() == pytest.approx(expected.item())
    with pytest.raises(ShapeError, match="text"):
        loss(ours, {"speech": ours})


def test_pooling_brings_50_frames_a_second_to_12_and_a_half():
    steady = torch.ones(1, 200, 2)
    assert pool_frames(steady, 8, 4).allclose(steady[:, :50])
    ramp = torch.arange(200.0)[None, :, None]
    assert pool_frames(ramp, 8, 4)[0, 10, 0].item() == pytest.approx(10 * 4 + 1.5)  # the middle of frames 40 to 43


def test_tokens_lie_where_their_words_sound():
    laid = spread_tokens(torch.tensor([[1.0], [2.0]]), [(0.02, 0.06), (0.1, 0.101)], 8, 50.0)
    assert laid.flatten().tolist() == [0, 1, 1, 0, 0, 2, 0, 0]
    with pytest.raises(ShapeError, match="span"):
        spread_tokens(torch.ones(2, 1), [(0.0, 1.0)], 8, 50.0)
