"""Recognition of made recordings: of what sounds like real ones, of what does not, and with the codec's ceiling beside it."""

import csv
import os

import pytest
import torch

from toneme.codecs.audio import write_audio
from toneme.codecs.errors import TonemeError
from toneme.codecs.toneme24k import TonemeCodec, TonemeConfig
from toneme.eval.clips import Clip
from toneme.eval.probes.fitting import Budget
from toneme.eval.probes.recognition import Narrowed, find_task, lowest_rate, read_made, recognise
from toneme.eval.systems import codec_systems

from ..test_measurement import SMALL
from .corpus import RATE, _tone, write_corpus

BUDGET = Budget(steps=40, batch=8, rate=2e-2, seeds=(0, 1))
HERTZ = {"0": 2000.0, "1": 300.0}


@pytest.fixture
def task(tmp_path):
    return find_task(write_corpus(tmp_path / "corpus"), "digits", (".wav",))


def make(folder, pitches):
    """Write tones, labels.csv says of which label; return what is read of it."""
    folder.mkdir()
    with (folder / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label"])
        for i, (label, hertz) in enumerate(pitches):
            noise = 0.02 * torch.randn(3 * RATE // 4, generator=torch.Generator().manual_seed(i)).diff(prepend=torch.zeros(1))
            tone = torch.nn.functional.interpolate(_tone(hertz / 3, 50 + i)[None, None], scale_factor=3)[0, 0]
            write_audio(folder / f"{i}.wav", (tone + noise)[None], 3 * RATE)
            rows.writerow([f"{i}.wav", label])
    return read_made(folder)


def test_what_sounds_like_its_label_is_recognised_and_what_does_not_is_not(task, tmp_path):
    good = [(label, HERTZ[label] * 3) for label in "0101"]
    made = make(tmp_path / "made", [*good, ("0", 900.0), ("0", 900.0)])
    held, ours = recognise(made, task, None, BUDGET)
    assert (held.learned, held.heard, ours.heard) == ("recordings", "recordings, held out", "made")
    assert (held.share.mean, held.share.clips) == (100, 4)
    assert ours.by_label == {"0": 50, "1": 100}
    assert ours.share.clips == 6
    assert ours.share.mean == pytest.approx(400 / 6)
    assert ours.share.low < ours.share.mean < ours.share.high


def test_a_codec_has_a_probe_and_a_ceiling(task, tmp_path):
    torch.manual_seed(0)
    TonemeCodec(TonemeConfig(**SMALL), "tiny").eval().save(tmp_path / "tiny")
    (system,) = codec_systems(str(tmp_path / "tiny"), [2])
    rows = recognise(make(tmp_path / "made", [("0", 6000.0)]), task, system, BUDGET)
    carried = "recordings as tiny x2 carries them"
    heard = ["recordings, held out", f"{carried}, held out", "made"]
    assert [(row.learned, row.heard) for row in rows] == [
        (learned, one) for learned in ("recordings", carried) for one in heard
    ]
    assert rows[0].share.mean == 100
    assert all(row.share.clips == 4 for row in rows if "held out" in row.heard)


def test_clips_are_heard_at_the_tasks_rate(task):
    clip = task.clips[0]
    waveform, rate = Narrowed(clip.path, clip.name, "", "", rate=8000).read()
    assert (rate, len(waveform)) == (8000, len(clip.read()[0]) // 2)


def test_lists_of_spreadsheets_and_names_that_are_no_text_are_read(tmp_path):
    (tmp_path / "labels.csv").write_bytes(b"\xef\xbb\xbfpath,label\r\n000000.wav,one\r\n")
    assert read_made(tmp_path) == [(Clip(tmp_path / "000000.wav", "000000.wav", "", ""), "one")]
    write_audio(tmp_path / "a.wav", torch.zeros(1, 800), 8000)
    name = tmp_path / os.fsdecode(b"caf\xe9.wav")
    (tmp_path / "a.wav").rename(name)
    assert lowest_rate([Clip(name, name.name, "", "")]) == 8000


def test_what_cannot_be_tested_is_said(task, tmp_path):
    with pytest.raises(TonemeError, match=r"no task 'esc10' of labels with a split into train and test: it has digits"):
        find_task(tmp_path / "corpus", "esc10", (".wav",))
    with pytest.raises(TonemeError, match=r"'seven' is no label of the task digits, which has 0, 1"):
        recognise([(Clip(tmp_path, "", "", ""), "seven")], task, None, BUDGET)
    with pytest.raises(TonemeError, match=r"labels.csv cannot be read .*codec generate --count N"):
        read_made(tmp_path)
    (tmp_path / "labels.csv").write_text("path,label\na.wav,\n")
    with pytest.raises(TonemeError, match="generate them with --label all"):
        read_made(tmp_path)
