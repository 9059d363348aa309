"""Fluent Speech Commands: its layout with made audio becomes a task, other folders are refused."""

import csv

import pytest
import torch

from toneme.codecs.audio import write_audio
from toneme.codecs.errors import TonemeError
from toneme.eval.clips import find_clips
from toneme.eval.probes.fluent_speech_commands import label_fluent
from toneme.eval.probes.tasks import find_tasks

HEADS = ["", "path", "speakerId", "transcription", "action", "object", "location"]  # the first column counts, without a head
ROWS = {
    "train": [("anna", "lamp", "on", "lamp", "none"), ("anna", "heat, please", "up", "heat", "kitchen")],
    "valid": [("berta", "lamp", "on", "lamp", "none")],
    "test": [("clara", "lamp", "on", "lamp", "none"), ("clara", "heat", "up", "heat", "kitchen")],
}


@pytest.fixture
def root(tmp_path):
    (tmp_path / "data").mkdir()
    for split, rows in ROWS.items():
        with (tmp_path / "data" / f"{split}_data.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(HEADS)
            for i, (speaker, *said) in enumerate(rows):
                path = f"wavs/speakers/{speaker}/{i}.wav"
                (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
                write_audio(tmp_path / path, torch.zeros(1, 800), 16000)
                writer.writerow([i, path, speaker, *said])
    return tmp_path


def test_the_data_set_becomes_a_task(root):
    assert label_fluent(root) == 4
    (task,), _ = find_tasks(find_clips(root, {".wav"}))
    assert (task.name, task.labels) == ("intent", ("on/lamp/none", "up/heat/kitchen") * 2)
    (split,) = task.splits
    assert (split.train, split.test) == ((0, 1), (2, 3))
    assert [clip.name.split("/")[2] for clip in task.clips] == ["anna", "anna", "clara", "clara"]
    with pytest.raises(TonemeError, match="exists: move it away"):
        label_fluent(root)


def test_other_folders_are_refused(root):
    with pytest.raises(TonemeError, match="name the folder of Fluent Speech Commands"):
        label_fluent(root / "data")
    (root / "data" / "train_data.csv").write_text(",path,speakerId,transcription,action,object,location\n")
    with pytest.raises(TonemeError, match="too few intents"):
        label_fluent(root)
    (root / "data" / "train_data.csv").write_text("path,label\n")
    with pytest.raises(TonemeError, match="lacks the columns"):
        label_fluent(root)
    assert not (root / "probes").exists()
