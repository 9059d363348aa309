"""Spoken commands: who says what, tasks that the suite reads, and espeak-ng itself where it is installed."""

import shutil
from collections import Counter
from contextlib import contextmanager

import pytest
import torch

from toneme.codecs.audio import read_audio, write_audio
from toneme.codecs.errors import TonemeError
from toneme.eval.clips import find_clips
from toneme.eval.probes.spoken_commands import KNOWN, NAMES, SAMPLE_RATE, TEST, make_commands, plan_commands
from toneme.eval.probes.tasks import find_tasks
from toneme.eval.probes.voices import Synthesizer, check_espeak


@contextmanager
def unwatched(count):
    yield lambda done: None


@pytest.fixture
def synthesizer(tmp_path):
    """Copies one sound, whatever is said."""
    write_audio(tmp_path / "sound.wav", 0.3 * torch.sin(torch.arange(4000) * 0.2)[None], 8000)
    return Synthesizer(f"cp {tmp_path / 'sound.wav'} {{wav}} # {{voice}} {{text}}")


def some(commands, count=4):
    """The first recordings of every part."""
    return [c for part in ("train", *NAMES) for c in [c for c in commands if c.part == part][:count]]


def test_nobody_speaks_in_training_and_in_tests_and_new_wordings_are_new():
    commands = plan_commands()
    counts = Counter((c.part, c.intent) for c in commands)
    assert {counts["train", c.intent] for c in commands} == {16 * KNOWN}
    assert {counts[name, c.intent] for c in commands for name in NAMES} == {8 * TEST}
    train, known, new = ([c for c in commands if c.part == part] for part in ("train", *NAMES))
    people = [{c.voice.name for c in part} for part in (train, known, new)]
    assert people[1] == people[2]
    assert not people[0] & people[1]
    assert len({name.split("+")[1] for name in people[0] | people[1]}) == 24  # a variant has one accent, and one side
    texts = [{c.text for c in part} for part in (train, known, new)]
    assert texts[1] <= texts[0]
    assert not texts[2] & texts[0]
    assert len({c.path for c in commands}) == len(commands) == len({c.room for c in commands})
    assert set(Counter((c.voice.name, c.text) for c in commands).values()) == {1}
    assert len({c.voice for c in commands}) > 24  # the same person, a little faster or higher


def test_all_follows_the_seed():
    assert plan_commands(seed=1) == plan_commands(seed=1) != plan_commands(seed=2)


def test_recordings_and_labels_become_tasks(synthesizer, tmp_path):
    commands = some(plan_commands(["a", "b", "c"]), 8)
    make_commands(commands, synthesizer, tmp_path / "data", unwatched)
    tasks, missing = find_tasks(find_clips(tmp_path / "data", {".flac"}))
    assert [(task.name, task.label) for task in tasks] == list(zip(NAMES, ("intent", "intent, new wording"), strict=True))
    assert "intent" not in missing
    for task in tasks:
        (split,) = task.splits
        assert (len(split.train), len(split.test)) == (8, 8)
        mine = {c.path: c.intent.label for c in commands}
        assert [mine[clip.name] for clip in task.clips] == list(task.labels)
    waveform, rate = read_audio(tmp_path / "data" / commands[0].path)
    assert (rate, waveform.shape[0]) == (SAMPLE_RATE, 1)
    assert waveform.shape[1] == 2 * 4000 + round(commands[0].room.seconds * SAMPLE_RATE)
    with pytest.raises(TonemeError, match="exists: name another folder"):
        make_commands(commands, synthesizer, tmp_path / "data", unwatched)


def test_what_fails_half_way_leaves_nothing(synthesizer, tmp_path):
    broken = Synthesizer(f"test {{voice}} = {{voice}} && test {{text}} != 'switch on the fan' && {synthesizer.command}")
    commands = plan_commands(["a", "b", "c"])
    assert "switch on the fan" in [c.text for c in commands][1:]
    with pytest.raises(TonemeError, match="failed with status 1"):
        make_commands(commands, broken, tmp_path / "data", unwatched)
    assert list((tmp_path / "data" / "probes").iterdir()) == []


def test_too_few_voices_are_refused():
    with pytest.raises(TonemeError, match="2 voices are too few"):
        plan_commands(["a", "b", "a"])


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_espeak_says_the_same_each_time(tmp_path):
    check_espeak()
    commands = some(plan_commands())
    for name in ("one", "two"):
        make_commands(commands, Synthesizer(), tmp_path / name, unwatched)
    one, two = ({c.path: (tmp_path / name / c.path).read_bytes() for c in commands} for name in ("one", "two"))
    assert one == two
    assert len(set(one.values())) == len(commands)
    seconds = [read_audio(tmp_path / "one" / c.path)[0].shape[1] / SAMPLE_RATE for c in commands]
    assert 0.8 < min(seconds) < max(seconds) < 5
