"""Tasks: splits as the files have them, speakers and folds in turn, texts by source."""

import pytest

from toneme.codecs.errors import TonemeError
from toneme.eval.clips import find_clips
from toneme.eval.probes.tasks import find_tasks, normalise

from .corpus import write_corpus


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("made") / "corpus")


def test_splits_are_those_of_the_files(root):
    tasks, missing = find_tasks(find_clips(root, {".wav"}))
    named = {task.name: task for task in tasks}
    assert list(named) == ["digits", "digits_new_speaker", "esc10", "recognition_made"]
    assert set(missing) == {"keyword", "speaker", "intent"}
    given = named["digits"]
    by_name = {clip.name: i for i, clip in enumerate(given.clips)}
    assert given.splits[0].test == tuple(by_name[f"train/{i}.wav"] for i in (2, 5, 8, 11))
    assert [split.name for split in named["esc10"].splits] == ["fold 1", "fold 2", "fold 3"]
    assert [split.name for split in named["digits_new_speaker"].splits] == ["speaker anna", "speaker berta"]
    assert {named["recognition_made"].labels[i] for i in range(2)} == {"yes", "no"}
    for task in tasks:
        assert all(not set(split.train) & set(split.test) for split in task.splits)
    assert "12 of its 12 clips lie under train/" in given.note


def test_identity_follows_labels_and_clips(root):
    first, again = (find_tasks(find_clips(root, {".wav"}))[0][0] for _ in range(2))
    fewer = find_tasks(find_clips(root, {".wav"}, limit=9))[0][0]
    shorter = find_tasks(find_clips(root, {".wav"}, seconds=0.1))[0][0]
    assert first.identity == again.identity
    assert len({first.identity, fewer.identity, shorter.identity}) == 3


def test_data_without_labels_is_an_error_that_says_so(samples, tmp_path):
    with pytest.raises(TonemeError, match="takes labels from"):
        find_tasks(find_clips(samples, {".wav", ".flac"}))
    root = write_corpus(tmp_path / "corpus")
    (root / "probes" / "keyword.csv").write_text("path,label\n")
    with pytest.raises(TonemeError, match="lacks the columns split"):
        find_tasks(find_clips(root, {".wav"}))


def test_a_folder_of_probes_alone_holds_fewer_tasks(root):
    tasks, missing = find_tasks(find_clips(root, {".wav"}, limit=1))
    assert not tasks
    assert missing["digits"] == "too few of its clips are in the data"
    assert "recognition" in missing


def test_texts_keep_letters_and_apostrophes():
    assert normalise("  It's  NOT, first-person 9 Übung. ") == "it's not first person übung"
