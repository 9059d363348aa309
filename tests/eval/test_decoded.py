"""Folders of decoded audio: found by the clips' names, cut and counted as they are, refused where they say nothing."""

import pytest
import soundfile
import torch

from toneme.codecs.errors import AudioError
from toneme.eval.clips import find_clips
from toneme.eval.commands import CommandError
from toneme.eval.decoded import decoded_folder
from toneme.eval.measurement import measure_jobs
from toneme.eval.reconstruction import make_pair

from .signals import tone

SUFFIXES = frozenset((".wav", ".flac"))


@pytest.fixture
def tree(tmp_path):
    def write(name, audio, rate=8000):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, audio.numpy(), rate, "FLOAT" if name.endswith("wav") else None)

    for name in ("speech/a.wav", "speech/b.flac", "speech/c.wav", "music/d.wav"):
        write(f"data/{name}", 0.5 * tone(200, 8000))
    write("out/speech/a.flac", 0.25 * tone(200, 16000), 16000)
    write("out/speech/b.flac.wav", 0.125 * tone(200, 8000))
    write("out/speech/b.wav", tone(300, 8000))
    write("out/music/d.wav", torch.full((8000,), torch.nan))
    return tmp_path


def rebuilt(system, clip):
    return system.rebuild_clip(clip, *clip.read(), "cpu")


def test_files_of_any_format_are_found_by_the_clips_names(tree):
    system = decoded_folder(f"mine@4: {tree / 'out'}", SUFFIXES)
    clips = {clip.name: clip for clip in find_clips(tree / "data", SUFFIXES)}
    assert (system.name, system.label) == ("mine", "mine 4")
    first = rebuilt(system, clips["speech/a.wav"])
    assert (first.sample_rate, first.bits) == (16000, 4000)
    torch.testing.assert_close(first.audio, 0.25 * tone(200, 16000), atol=1e-4, rtol=0)
    whole_name = rebuilt(system, clips["speech/b.flac"])  # as `codec roundtrip` calls it where a b.wav is there too
    torch.testing.assert_close(whole_name.audio, 0.125 * tone(200, 8000))
    pair, bits = make_pair(system, clips["speech/a.wav"], 8000, "cpu")
    assert (pair.estimate.shape, bits) == (pair.target.shape, 4000)


def test_what_is_missing_or_no_sound_is_a_failure_of_the_clip(tree):
    system = decoded_folder(str(tree / "out"), SUFFIXES)
    clips = {clip.name: clip for clip in find_clips(tree / "data", SUFFIXES)}
    with pytest.raises(AudioError, match=r"holds no audio named like speech/c\.wav"):
        rebuilt(system, clips["speech/c.wav"])
    with pytest.raises(AudioError, match="NaN"):
        rebuilt(system, clips["music/d.wav"])


def test_a_part_of_a_clip_is_compared_with_that_part(tree):
    (clip, *_) = find_clips(tree / "data" / "speech", SUFFIXES, seconds=0.25)
    system = decoded_folder(str(tree / "out" / "speech"), SUFFIXES)
    assert len(rebuilt(system, clip).audio) == 4000
    assert system.label == "speech"
    assert rebuilt(system, clip).bits is None


def test_its_speed_is_not_measured_and_its_content_is_its_identity(tree):
    system = decoded_folder(str(tree / "out"), SUFFIXES)
    assert measure_jobs([system], find_clips(tree / "data", SUFFIXES)[0], "cpu") == []
    soundfile.write(tree / "out" / "speech" / "a.flac", tone(100, 8000).numpy(), 8000)
    assert decoded_folder(str(tree / "out"), SUFFIXES).identity != system.identity
    with pytest.raises(AudioError, match="codes nothing"):
        system.rebuild(tone(200), 16000, "cpu")


def test_codecs_and_folders_without_audio_are_none(tree):
    (tree / "out" / "config.json").write_text("{}")
    (tree / "empty").mkdir()
    for text in ("default", str(tree / "out"), str(tree / "empty"), str(tree / "nowhere"), "hf://a/b"):
        assert decoded_folder(text, SUFFIXES) is None
    with pytest.raises(CommandError, match="no single rate"):
        decoded_folder(f"mine@4,6: {tree / 'data'}", SUFFIXES)
