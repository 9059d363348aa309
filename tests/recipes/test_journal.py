"""What a run writes: lines of figures, and TensorBoard's scalars, pictures and sounds."""

import errno
import io
import json

import torch

from toneme.recipes.journal import Journal, spectrogram


def test_lines_hold_means_since_the_last_one(tmp_path, capsys):
    journal = Journal(tmp_path, 10)
    journal.add({"mel": 1.0, "gradient": 2.0})
    journal.add({"mel": 3.0})
    journal.write(2, journal.means(), torch.tensor([0.5, 0.25]))
    journal.close()
    row = json.loads((tmp_path / "log.jsonl").read_text())
    assert (row["step"], row["mel"], row["gradient"], row["usage"]) == (2, 2.0, 2.0, 0.25)
    assert "mel 2" in capsys.readouterr().err
    assert journal.means() == {}


def test_examples_reach_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    journal = Journal(tmp_path, 10)
    journal.write(5, {"mel": 1.5}, torch.tensor([0.5]))
    journal.show(5, 24000, torch.zeros(1, 1, 4800), 0.1 * torch.randn(1, 1, 4800))
    journal.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert {"mel", "usage/codebook_0"} <= set(events.Tags()["scalars"])
    assert set(events.Tags()["audio"]) == set(events.Tags()["images"]) == {"original/0", "decoded/0"}


def test_other_machines_write_nothing(tmp_path, capsys):
    journal = Journal(tmp_path, 10, quiet=True)
    journal.write(5, {"mel": 1.5}, torch.tensor([0.5]))
    journal.say("hello")
    journal.close()
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr().err == ""


def test_a_tone_is_a_bright_line_at_its_height():
    tone = (2 * torch.pi * 3000 * torch.arange(24000) / 24000).sin()
    picture = spectrogram(tone)[0]
    assert int(picture.mean(1).argmax()) == 512 - 128
    assert float(picture.max()) == 1


def test_a_terminal_that_is_gone_does_not_end_a_run(tmp_path, monkeypatch):
    class Gone(io.StringIO):
        def write(self, text):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("sys.stderr", Gone())
    journal = Journal(tmp_path, 10)
    journal.write(5, {"mel": 1.5}, torch.tensor([0.5]))
    journal.close()
    assert json.loads((tmp_path / "log.jsonl").read_text())["mel"] == 1.5
