"""Distillation: features at the codec's rate, cached ones equal to fresh ones, text where it is said."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from toneme.codecs.audio import write_audio
from toneme.recipes.data.features import WINDOW, FeatureCache
from toneme.recipes.data.items import make_items
from toneme.recipes.errors import RecipeError
from toneme.recipes.recipe import DataSettings
from toneme.recipes.teaching import Lesson, TextLesson, fit_frames


class Levels(nn.Module):
    """A teacher of one feature at 50 Hz: the mean magnitude of each 20 ms."""

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        """Return [batch, frames, 1]."""
        return waveform.unfold(-1, 480, 480).abs().mean(-1, keepdim=True)


@pytest.fixture
def items(tmp_path, speech):
    write_audio(tmp_path / "long.wav", torch.cat([speech, speech, speech], dim=1), 24000)
    return make_items(DataSettings(train=str(tmp_path)), 24000, 1, 1.0, 0)


def test_cached_features_are_those_of_the_recording_across_windows_and_at_its_end(items, tmp_path):
    cache = FeatureCache(tmp_path / "cache", "levels", items, Levels(), 50.0)
    whole = Levels()(torch.from_numpy(items.read(0, 0.0, 100.0)))[0]
    for start in (0.0, WINDOW - 0.5, 12.0):
        first = round(start * 50)
        torch.testing.assert_close(cache.crop(0, start, 1.0), whole[first : first + 50], atol=1e-3, rtol=1e-3)
    assert len(cache.crop(0, items.length(0) - 0.5, 1.0)) in (24, 25)
    assert cache.computed == 2
    again = FeatureCache(tmp_path / "cache", "levels", items, Levels(), 50.0)
    assert torch.equal(again.crop(0, 3.0, 1.0), cache.crop(0, 3.0, 1.0))
    assert again.computed == 0
    other = FeatureCache(tmp_path / "cache", "other", items, Levels(), 50.0)
    other.crop(0, 3.0, 1.0)
    assert other.computed == 1


def test_features_fit_the_frames_of_the_codec():
    rising = torch.arange(100.0)[None, :, None]
    assert torch.equal(fit_frames(rising, 25)[0, :, 0], torch.arange(25.0) * 4 + 1.5)
    assert torch.equal(fit_frames(rising, 99), rising[:, :99])
    faster = fit_frames(rising, 150)[0, :, 0]
    assert faster.shape == (150,)
    assert (faster.diff() >= 0).all()


def test_tokens_lie_in_their_share_of_the_recording():
    lesson = TextLesson.__new__(TextLesson)
    lesson.items = SimpleNamespace(seconds=1.0, length=lambda number: 4.0)
    lesson.known = {0: torch.tensor([[1.0], [2.0], [3.0], [4.0]])}
    assert lesson._crop(0, 0.0)[:, 0].tolist() == [1.0] * 50
    assert lesson._crop(0, 1.5)[:, 0].tolist() == [2.0] * 25 + [3.0] * 25
    lesson.known = {0: torch.zeros(0, 1)}
    assert lesson._crop(0, 1.5).tolist() == [[0.0]] * 50


def test_lessons_that_cannot_be_read_are_explained():
    assert Lesson.read("x", {"teacher": "hubert", "weight": 3}).loss == "d_axis"
    with pytest.raises(RecipeError, match=r"distil\.x cannot be used: .*wait"):
        Lesson.read("x", {"teacher": "hubert", "wait": 3})
    with pytest.raises(RecipeError, match=r"distil\.x\.subject must be first or all; got 'second'"):
        Lesson.read("x", {"teacher": "hubert", "subject": "second"})
