"""Examples by number: crops, lengths, what is told, and who is found in a manifest."""

import numpy as np
import pytest
import torch

from toneme.codecs.registry import load
from toneme.lm.shards import read_shards
from toneme.lm.tokenizing import tokenize
from toneme.recipes.data.examples import ExampleSet, Told
from toneme.recipes.errors import DataError
from toneme.recipes.recipe import LanguageSettings

from ...lm.made import make_codec, make_recordings


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    make_codec(folder / "tiny")
    tokenize(make_recordings(folder / "data", 6, 0.6), folder / "out", str(folder / "tiny"), 3, workers=0)
    return read_shards(folder / "out", load(folder / "tiny"))


def test_an_example_depends_on_seed_and_number_alone(shards):
    settings = LanguageSettings(told="label", labels="folder", drop=0.3)
    one, two = (ExampleSet(shards, settings, "train", 10, seed=3) for _ in range(2))
    whole, part = one.batch(0, 12), two.batch(5, 4)
    assert torch.equal(part.lengths, whole.lengths[5:9])
    assert torch.equal(part.codes, whole.codes[5:9, :, : part.codes.shape[-1]])
    assert part.told == whole.told[5:9]
    assert set(whole.told) == {None, "left", "right"}
    other = ExampleSet(shards, settings, "train", 10, seed=4).batch(0, 12)
    assert not torch.equal(other.lengths, whole.lengths) or not torch.equal(other.codes, whole.codes)


def test_the_order_of_an_epoch_is_drawn_once(shards, monkeypatch):
    """Drawing it takes as long as there are recordings: tens of milliseconds for a million, for every example."""
    examples, plain, drawn = ExampleSet(shards, LanguageSettings(), "train", 10, seed=0), np.random.default_rng, []
    monkeypatch.setattr(np.random, "default_rng", lambda key: drawn.append(key) or plain(key))
    orders = [plain((0, epoch)).permutation(6) for epoch in range(3)]
    assert [examples._index(number) for number in range(18)] == np.concatenate(orders).tolist()
    assert drawn == [(0, 0), (0, 1), (0, 2)]


def test_an_epoch_has_every_recording_once_and_crops_say_whether_they_end(shards):
    examples = ExampleSet(shards, LanguageSettings(codebooks=2), "train", 8, seed=0)
    batch = examples.batch(0, 6)
    assert sorted(batch.lengths.tolist()) == sorted(min(8, codes.shape[-1]) for codes in examples.codes)
    assert batch.codes.shape[1] == 2
    assert batch.told == [None] * 6
    for codes, n, ended in zip(batch.codes, batch.lengths.tolist(), batch.ended.tolist(), strict=True):
        found = [torch.from_numpy(own.astype("int64")) for own in examples.codes]
        at = [(own, i) for own in found for i in range(own.shape[-1] - n + 1) if torch.equal(own[:, i : i + n], codes[:, :n])]
        assert (at[0][1] + n == at[0][0].shape[-1]) == ended


def test_recordings_are_found_in_a_manifest_by_the_ends_of_paths(tmp_path):
    rows = ["path,label,split", "data/a/x.wav,one,train", "data/b/x.wav,two,train", "data/b/y.wav,three,test"]
    (tmp_path / "m.csv").write_text("\n".join([*rows, "data/c/z.wav,four,train"]))
    told = Told(LanguageSettings(told="label", labels=str(tmp_path / "m.csv")), "train")
    found = {"a/x.wav": "one", "b/x.wav": "two", "x.wav": None, "z.wav": "four", "/home/data/c/z.wav": "four", "b/y.wav": None,
             "/home/c/z.wav": None}  # fmt: skip
    assert {path: told.of(path) for path in found} == found


def test_recordings_that_end_alike_are_told_apart_only_where_what_is_told_differs(tmp_path):
    (tmp_path / "m.csv").write_text(
        "path,label\na/x.wav,one\na/x.wav,one\nb/x.wav,one\na/y.wav,one\nb/y.wav,two\nc/y.wav,two\n"
    )
    told = Told(LanguageSettings(told="label", labels=str(tmp_path / "m.csv")), "train")
    found = {"a/x.wav": "one", "x.wav": "one", "y.wav": None, "c/y.wav": "two"}
    assert {path: told.of(path) for path in found} == found


def test_nothing_to_train_on_is_said(shards, tmp_path):
    (tmp_path / "m.csv").write_text("path,label\nno.wav,1\n")
    for settings, message in (
        (LanguageSettings(told="label", labels=str(tmp_path / "m.csv")), "none of 6 recordings can be used"),
        (LanguageSettings(told="label", labels=str(tmp_path / "x.csv")), "x.csv is no manifest"),
        (LanguageSettings(told="word", labels="folder"), 'must be "label" or "text"'),
        (LanguageSettings(codebooks=4), "language.codebooks must be from 0 to 3 on these shards; got 4"),
    ):
        with pytest.raises(DataError, match=message):
            ExampleSet(shards, settings, "train", 8, 0)
