"""Tasks: splits as the files have them, speakers and folds in turn, texts by source."""

import shutil

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


def test_several_folders_hold_tasks_together(root, tmp_path):
    other = write_corpus(tmp_path / "other")
    for name in ("probes/digits.csv", "manifest.csv"):
        (other / name).unlink()
    (other / "probes" / "esc10.csv").rename(other / "probes" / "intent.csv")
    first, second = find_clips(root, {".wav"}), find_clips(other, {".wav"})
    alone, told = find_tasks(first)
    assert "`codec intents FOLDER` makes one" in told["intent"]
    both, missing = find_tasks(first, second)
    assert [(task.name, task.identity) for task in both[:-1]] == [(task.name, task.identity) for task in alone]
    assert (both[-1].name, both[-1].clips[0].path.parents[1].name) == ("intent", "other")
    assert set(missing) == {"keyword", "speaker"}
    with pytest.raises(TonemeError, match="is the second folder with a task digits"):
        find_tasks(first, second, first)


def test_one_folder_with_labels_is_enough(root, tmp_path):
    plain = tmp_path / "plain"
    plain.mkdir()
    shutil.copy(root / "train" / "0.wav", plain)
    clips = find_clips(plain, {".wav"})
    assert find_tasks(clips, find_clips(root, {".wav"})) == find_tasks(find_clips(root, {".wav"}))
    with pytest.raises(TonemeError, match="takes labels from"):
        find_tasks(clips, clips)


def test_clips_may_be_links_to_files_elsewhere(root, tmp_path):
    for file in (path for path in root.rglob("*") if path.is_file()):
        link = tmp_path / "links" / file.relative_to(root)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(shutil.copy(file, tmp_path / f"{len(list(tmp_path.iterdir()))}{file.suffix}"))
    linked, plain = (find_tasks(find_clips(folder, {".wav"})) for folder in (tmp_path / "links", root))
    assert [(task.name, task.identity) for task in linked[0]] == [(task.name, task.identity) for task in plain[0]]


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
