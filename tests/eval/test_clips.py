"""Clips: domains by folder, even choice, cutting, refusals."""

import shutil

import pytest
import soundfile
import torch

from toneme.codecs.errors import AudioError
from toneme.eval.clips import find_clips
from toneme.eval.suite import Setup


@pytest.fixture
def data(tmp_path):
    for name in ("speech/a.wav", "speech/b.wav", "speech/c.wav", "music/deep/d.wav", "other/e.wav", ".hidden/f.wav"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, torch.full((800, 2), 0.25 if "b" in name else 0.5).numpy(), 8000)
    return tmp_path


def test_folders_say_domains(data):
    found = {clip.name: clip.domain for clip in find_clips(data, {".wav"})}
    assert found == {
        "music/deep/d.wav": "music", "other/e.wav": "",
        "speech/a.wav": "speech", "speech/b.wav": "speech", "speech/c.wav": "speech",
    }  # fmt: skip
    assert {clip.domain for clip in find_clips(data / "speech", {".wav"})} == {"speech"}
    assert [clip.name for clip in find_clips(data / "speech" / "a.wav", {".wav"})] == ["a.wav"]


def test_a_domain_may_be_a_link(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("links")
    (folder / "music").symlink_to(data / "speech")
    assert [(clip.name, clip.domain) for clip in find_clips(folder, {".wav"})][:1] == [("music/a.wav", "music")]


def test_a_limit_spreads_over_domains_and_the_content_names_the_clip(data):
    assert sorted(clip.domain for clip in find_clips(data, {".wav"}, limit=2)) == ["", "music", "speech"]
    a, b, c = find_clips(data / "speech", {".wav"})
    assert a.digest == c.digest != b.digest


def test_folders_above_domains_say_what_clips_are_for(data):
    for name in ("speech", "music"):
        shutil.copytree(data / name, data / "train" / name)
        shutil.move(data / name, data / "eval" / name)
    found = {clip.name: (clip.split, clip.domain) for clip in find_clips(data, {".wav"})}
    assert found["train/speech/a.wav"] == ("train", "speech")
    assert found["eval/music/deep/d.wav"] == ("eval", "music")
    assert found["other/e.wav"] == ("", "")
    two = find_clips(data, {".wav"}, limit=2)
    both = {(split, domain) for split in ("train", "eval") for domain in ("speech", "music")}
    assert {(clip.split, clip.domain) for clip in two} == both | {("", "")}
    assert {clip.split for clip in Setup((), tuple(two)).tested} == {"eval"}
    assert len(Setup((), tuple(two[:1])).tested) == 1


def test_a_clip_is_mono_and_cut(data):
    clip = find_clips(data / "speech", {".wav"}, seconds=0.05)[1]
    waveform, rate = clip.read()
    assert rate == 8000
    torch.testing.assert_close(waveform, torch.full((400,), 0.25), atol=1e-4, rtol=0)


def test_missing_and_empty_folders_are_refused(tmp_path):
    with pytest.raises(AudioError, match="does not exist"):
        find_clips(tmp_path / "none", {".wav"})
    with pytest.raises(AudioError, match="holds no audio"):
        find_clips(tmp_path, {".wav"})
