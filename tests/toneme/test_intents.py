"""`codec intents` with a program that speaks in place of espeak-ng, and `codec eval --probes` with what it made."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from toneme.eval.probes import downstream, spoken_commands
from toneme.eval.probes.fitting import Budget
from toneme.eval.probes.intents import INTENTS


@pytest.fixture
def speak(wav, monkeypatch):
    """Options for a program that copies a sound, whatever is said, and only two intents."""
    monkeypatch.setattr(spoken_commands, "INTENTS", INTENTS[:2])
    return ["--speak", f"cp {wav('sound.wav', 0.3)} {{wav}} # {{voice}} {{text}}", "--voices", "a, b,c"]


def test_commands_are_made_and_are_a_task_of_eval_beside_other_data(codec, tiny, wav, speak, tmp_path, monkeypatch):
    ran = codec("intents", tmp_path / "made", *speak, "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out) == {"output": str(tmp_path / "made"), "recordings": 2 * (2 * 3 + 2 + 2)}
    monkeypatch.setattr(downstream, "CLASSES", Budget(steps=2, batch=8, rate=1e-2, seeds=(0,)))
    wav("data/speech/a.wav", 0.6)
    line = ["eval", tiny, "-d", tmp_path / "data", "-o", tmp_path / "out", "-n", "2", "-j", 1, "--probes", tmp_path / "made"]
    ran = codec(*line, "--suite", "downstream", "--json")
    assert ran.code == 0, ran.err
    rows = {(row["system"], row["domain"]): row for row in json.loads(ran.out)["rows"]}
    assert rows["log-mel", "intent"]["clips"] == rows["tiny x2", "intent_new_wording"]["clips"] == 4
    assert rows["chance", "intent"]["mean"] == 50
    ran = codec(*line, "--suite", "tokens")
    assert ran.code == 2
    assert "--probes is for the suite downstream" in ran.sentence


def test_what_is_there_stays(codec, speak, tmp_path):
    assert codec("intents", tmp_path, *speak).code == 0
    before = (tmp_path / "probes" / "intent.csv").read_bytes()
    ran = codec("intents", tmp_path, *speak, "--seed", 1)
    assert ran.code == 1
    assert "exists: name another folder" in ran.sentence
    assert (tmp_path / "probes" / "intent.csv").read_bytes() == before


def test_fluent_speech_commands_are_labelled(codec, tmp_path):
    (tmp_path / "data").mkdir()
    for name in ("train", "test"):
        with (tmp_path / "data" / f"{name}_data.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["path", "speakerId", "transcription", "action", "object", "location"])
            rows.writerows([[f"wavs/{name}{i}.wav", name, "a", "on", f"lamp{i}", "none"] for i in range(2)])
    ran = codec("intents", tmp_path, "--fluent")
    assert ran.code == 0, ran.err
    assert "4 recordings" in ran.out.decode()
    assert (tmp_path / "probes" / "intent.csv").read_text().splitlines()[1] == "wavs/train0.wav,on/lamp0/none,train,a,train"


def test_without_espeak_the_remedy_is_told(codec, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(Path(shutil.which("sh") or "/bin/sh").parent / "nowhere"))
    ran = codec("intents", tmp_path / "made")
    assert ran.code == 1
    assert "espeak-ng is not installed: apt-get install espeak-ng" in ran.sentence
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--speak", "x {voice} {text} {wav}"], "--speak and --voices go together"),
        (["--voices", "a,b,c"], "--speak and --voices go together"),
        (["--fluent", "--speak", "x", "--voices", "a"], "--fluent makes no audio"),
    ],
)
def test_usage_errors(codec, tmp_path, options, why):
    ran = codec("intents", tmp_path, *options)
    assert ran.code == 2
    assert why in ran.sentence
