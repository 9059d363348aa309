"""Distillation: features at the codec's rate, cached ones equal to fresh ones, text where it is said."""

import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from toneme.codecs.audio import write_audio
from toneme.codecs.errors import MissingDependencyError
from toneme.recipes.data.features import WINDOW, FeatureCache
from toneme.recipes.data.items import make_items
from toneme.recipes.data.loader import Batch
from toneme.recipes.data.recording import Recording
from toneme.recipes.errors import RecipeError
from toneme.recipes.recipe import DataSettings
from toneme.recipes.teaching import Lesson, SpeechLesson, Teaching, TextLesson, fit_frames


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


def test_features_of_a_recording_that_changed_are_computed_anew(items, tmp_path, speech):
    def crops(said):
        cache = FeatureCache(tmp_path / "cache", "levels", items, Levels(), 50.0, said.append)
        return [cache.crop(0, start, 1.0) for start in (3.0, 12.0)], cache.computed

    before, said = crops([])[0], []
    os.utime(tmp_path / "long.wav", ns=(0, 0))  # as a copy has
    assert crops(said)[1] == 0
    write_audio(tmp_path / "long.wav", 0.5 * torch.cat([speech, speech, speech], dim=1), 24000)
    os.utime(tmp_path / "long.wav", ns=(1, 1))
    after, computed = crops(said)
    assert computed == 2
    assert said == [f"features are computed anew, of 1 recordings so far: {tmp_path}/long.wav changed"]
    for ours, theirs in zip(after, before, strict=True):
        torch.testing.assert_close(ours, 0.5 * theirs, atol=1e-3, rtol=1e-2)  # in half precision, of 16 bits
    assert crops(said)[1] == 0


def test_cached_features_without_stamps_are_used_unless_the_recording_is_newer(items, tmp_path):
    cache = FeatureCache(tmp_path / "cache", "levels", items, Levels(), 50.0)
    whole = cache.crop(0, 3.0, 1.0)
    (path,) = (tmp_path / "cache").rglob("*.npz")
    np.save(path.with_suffix(".npy"), np.load(path)["features"] * 2)
    path.unlink()
    assert torch.equal(cache.crop(0, 3.0, 1.0), whole * 2)
    os.utime(tmp_path / "long.wav", ns=(1 << 62, 1 << 62))
    assert torch.equal(cache.crop(0, 3.0, 1.0), whole)


def test_features_of_teachers_without_a_name_are_kept_by_their_weights(items, tmp_path):
    class Steps(nn.Linear):
        dimension, frame_rate = 1, 50.0

    def key(lesson, model):
        return SpeechLesson(lesson, model, items, tmp_path).cache.key

    own, folder, named = (Lesson(teacher, cache=True) for teacher in ("own", str(tmp_path), "wavlm"))
    one, two = Steps(1, 1), Steps(1, 1)
    for lesson in (own, folder):
        assert key(lesson, one) == key(lesson, one) != key(lesson, two)
    assert key(named, one) == key(named, two) == "wavlm|None|24000"


def test_cached_features_lie_where_a_short_recording_lies_in_its_item(tmp_path):
    noise = 0.1 * torch.randn(1, 9600, generator=torch.Generator().manual_seed(0))
    write_audio(tmp_path / "short.wav", noise, 24000)
    (tmp_path / "short.wav").rename(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav"))  # a name that is no text
    short = make_items(DataSettings(train=str(tmp_path)), 24000, 1, 1.0, 0)
    cache = FeatureCache(tmp_path / "cache", "levels", short, Levels(), 50.0)
    for item in (short[n] for n in range(6)):
        fresh = Levels()(item.waveform)[0, :, 0].nonzero()[:, 0]
        cached = cache.crop(item.recording, item.start, 1.0)[:, 0].nonzero()[:, 0]
        assert abs(int(fresh[0]) - int(cached[0])) <= 1
        assert abs(int(fresh[-1]) - int(cached[-1])) <= 1


def test_features_fit_the_frames_of_the_codec():
    rising = torch.arange(100.0)[None, :, None]
    assert torch.equal(fit_frames(rising, 25)[0, :, 0], torch.arange(25.0) * 4 + 1.5)
    assert torch.equal(fit_frames(rising, 99), rising[:, :99])
    faster = fit_frames(rising, 150)[0, :, 0]
    assert faster.shape == (150,)
    assert (faster.diff() >= 0).all()


class Letters:
    """A tokenizer whose tokens are the letters of words, between two marks."""

    most = 512

    def __call__(self, words, **settings):
        """Return inputs as a fast tokenizer of transformers does, cut as those are."""
        within = slice(self.most - 2)
        owners = [None, *[n for n, word in enumerate(words) for _ in word][within], None]
        letters = [0, *[ord(letter) for word in words for letter in word][within], 0]
        inputs = {"input_ids": torch.tensor([letters])}
        return type("Inputs", (dict,), {"word_ids": lambda self: owners})(inputs)


def reader(recording: Recording, aligner=None, seconds: float = 1.0) -> TextLesson:
    """A lesson of one recording of four seconds; a token's feature is its letter."""
    lesson = TextLesson.__new__(TextLesson)
    lesson.items = SimpleNamespace(
        seconds=seconds, sample_rate=24000, length=lambda number: 4.0, recordings=[recording],
        read=lambda number, start, seconds: np.zeros((1, 96000), np.float32),
    )  # fmt: skip
    lesson.tokenizer, lesson.layer, lesson.dimension, lesson.known, lesson.aligner = Letters(), -1, 1, {}, aligner
    lesson.aligned, lesson.device = {}, "cpu"
    lesson.model = lambda input_ids, **settings: SimpleNamespace(hidden_states=[input_ids.float()[..., None]])
    return lesson


def letters(crop: torch.Tensor) -> str:
    return "".join(chr(int(value)) if value else "." for value in crop[:, 0])


def test_words_without_times_share_the_recording():
    lesson = reader(Recording("x", text="a b c d"))
    assert letters(lesson._crop(0, 0.0)) == 50 * "a"
    assert letters(lesson._crop(0, 1.5)) == 25 * "b" + 25 * "c"
    assert letters(reader(Recording("x"))._crop(0, 1.5)) == 50 * "."


def test_tokens_lie_where_their_words_are_said():
    lesson = reader(Recording("x", text="no yes", times=(0.1, 0.3, 0.6, 0.9)))
    assert letters(lesson._crop(0, 0.0)) == 5 * "." + 5 * "n" + 5 * "o" + 15 * "." + 5 * "y" + 5 * "e" + 5 * "s" + 5 * "."
    assert letters(lesson._crop(0, 0.7)) == 5 * "e" + 5 * "s" + 40 * "."


def test_words_beyond_what_the_model_reads_at_once_are_read_too(monkeypatch):
    monkeypatch.setattr("toneme.recipes.teaching.MOST_WORDS", 2)
    monkeypatch.setattr(Letters, "most", 5)
    lesson = reader(Recording("x", text="a b cc d e", times=(0.0, 0.2, 0.2, 0.4, 0.4, 0.6, 0.6, 0.8, 0.8, 1.0)))
    assert letters(lesson._crop(0, 0.0)) == "".join(10 * letter for letter in "abcde")


def test_an_aligner_says_when_and_where_need_be_what():
    heard = SimpleNamespace(words=lambda waveform, rate, text: [(word, (1.0, 1.2)) for word in (text or "oh").split()])
    assert letters(reader(Recording("x", text="a"), heard)._crop(0, 0.9)) == 5 * "." + 10 * "a" + 35 * "."
    assert letters(reader(Recording("x"), heard)._crop(0, 0.9)) == 5 * "." + 5 * "o" + 5 * "h" + 35 * "."


def test_features_of_the_last_recordings_alone_are_kept_and_none_is_aligned_twice(monkeypatch):
    monkeypatch.setattr("toneme.recipes.teaching.MOST_KNOWN", 2)
    heard = []
    words = lambda waveform, rate, text: heard.append(text) or [(text, (1.0, 1.2))]  # noqa: E731
    lesson = reader(Recording("x"), SimpleNamespace(words=words))
    lesson.items.recordings = [Recording(letter, text=letter) for letter in "abc"]
    for _ in range(2):
        assert [letters(lesson._crop(number, 0.9)) for number in range(3)] == [5 * "." + 10 * w + 35 * "." for w in "abc"]
        assert len(lesson.known) == 2
    assert heard == ["a", "b", "c"]


def test_without_transformers_it_is_said_what_to_install(monkeypatch, items):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingDependencyError, match=r"transformers .*: pip install \"\.\[train\]\""):
        TextLesson(Lesson("text:bert-base-uncased"), items)


def test_lessons_that_cannot_be_read_are_explained():
    assert Lesson.read("x", {"teacher": "hubert", "weight": 3}).loss == "d_axis"
    with pytest.raises(RecipeError, match=r"distil\.x cannot be used: .*wait"):
        Lesson.read("x", {"teacher": "hubert", "wait": 3})
    with pytest.raises(RecipeError, match=r"distil\.x\.subject must be first or all; got 'second'"):
        Lesson.read("x", {"teacher": "hubert", "subject": "second"})
    for delay in (-0.1, float("nan"), "late", None):
        with pytest.raises(RecipeError, match=r"distil\.x\.delay must be seconds, 0 or more; got"):
            Lesson.read("x", {"teacher": "hubert", "delay": delay})


class Loud(nn.Linear):
    """A teacher, as codecs hold one: the mean magnitude of each 20 ms."""

    dimension, frame_rate = 1, 50.0

    def __init__(self) -> None:
        super().__init__(1, 1)

    def forward(self, waveform: torch.Tensor, sample_rate: int) -> torch.Tensor:
        """Return [batch, frames, 1]."""
        return Levels()(waveform)


def taught_by_domains(domains, **settings) -> Teaching:
    """Lessons of three recordings: speech, music, and one of which nothing is known."""
    items = SimpleNamespace(
        sample_rate=24000, seconds=1.0, recordings=[Recording("a", "speech"), Recording("b", "music"), Recording("c")]
    )
    entry = {"teacher": "own", "loss": "semantic_mse", "weight": 2, "domains": domains, **settings}
    return Teaching({"loud": entry}, SimpleNamespace(teacher=Loud(), family="x"), items, "", "cpu")


def test_a_lesson_of_some_domains_leaves_the_items_of_others_alone():
    waveform = torch.arange(1.0, 5.0)[:, None, None].expand(4, 1, 24000)
    batch = Batch(waveform, [0, 1, 0, 2], [0.0] * 4)
    taught = torch.zeros(4, 50, 1, requires_grad=True)
    every = taught_by_domains(None)({"loud": taught}, batch, waveform)["distil_loud"]
    assert every.item() == pytest.approx(2 * (1 + 4 + 9 + 16) / 4)
    found = taught_by_domains(["speech"])({"loud": taught}, batch, waveform)["distil_loud"]
    assert found.item() == pytest.approx(2 * (1 + 9) / 4)
    found.backward()
    torch.testing.assert_close(taught.grad.sum((1, 2)), -2 * 2 * torch.tensor([1.0, 0.0, 3.0, 0.0]) / 4)


def test_a_batch_without_such_an_item_teaches_nothing():
    waveform, taught = torch.ones(1, 1, 24000), torch.ones(1, 50, 1, requires_grad=True)
    found = taught_by_domains(["speech"])({"loud": taught}, Batch(waveform, [1], [0.0]), waveform)["distil_loud"]
    found.backward()
    assert found.item() == 0
    assert not taught.grad.any()


def test_a_lesson_for_domains_that_the_data_lack_is_refused():
    with pytest.raises(RecipeError, match=r"distil\.loud\.domains are song, and those of the data are: music, speech"):
        taught_by_domains(["song"])
    with pytest.raises(RecipeError, match=r"distil\.loud\.domains must be names"):
        taught_by_domains("speech")


@pytest.mark.parametrize("frames", [50, 25])
def test_a_late_teacher_teaches_the_frames_that_it_tells_of(frames):
    levels = torch.arange(1.0, 51.0)
    waveform = levels.repeat_interleave(480)[None, None]
    heard = fit_frames(levels[None, :, None], frames)
    late = heard.shape[1] * 20 // 50
    taught = torch.zeros(1, frames, 1)
    taught[:, : frames - late] = heard[:, late:]
    taught.requires_grad_()
    batch = Batch(waveform, [0], [0.0])
    found = taught_by_domains(None, delay=0.4)({"loud": taught}, batch, waveform)["distil_loud"]
    assert found.item() == 0
    assert taught_by_domains(None)({"loud": taught}, batch, waveform)["distil_loud"].item() > 1
    (taught_by_domains(None, delay=0.4)({"loud": taught + 1}, batch, waveform)["distil_loud"]).backward()
    assert taught.grad[:, : frames - late].abs().min() > 0
    assert not taught.grad[:, frames - late :].any()  # what the teacher says of them lies past the item


def test_a_delay_as_long_as_an_item_is_refused():
    with pytest.raises(RecipeError, match=r"distil\.loud\.delay must be less than an item's 1\.0 s; got 1\.0"):
        taught_by_domains(None, delay=1.0)
