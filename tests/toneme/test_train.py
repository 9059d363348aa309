"""`codec train`: one command from a folder to a codec, sentences for what is wrong, and help without torch."""

import json
import os
import signal
import subprocess
import sys

import pytest

from toneme.cli import run
from toneme.recipes.trainer import Trainer

SMALL = [
    "codec.config={encoder_dim: 16, decoder_dim: 16, encoder_blocks: [1, 1], decoder_blocks: [1, 1], latent_dim: 4}",
    "codec.config.codebooks=2", "codec.config.codebook_size=8",
    "batch=2", "seconds=0.2", "steps=4", "quantizer.from_step=2", "saving.every=2", "saving.log=2", "saving.audio=0",
]  # fmt: skip


def test_a_folder_becomes_a_codec_that_codes_and_the_run_goes_on(tmp_path, samples, capsys):
    base = ["train", "tiny", f"data.train={samples}", *SMALL, "-o", str(tmp_path / "run"), "--device", "cpu"]
    assert run(base) == 0
    assert "tiny after 4 steps" in capsys.readouterr().out
    assert (
        run(["roundtrip", str(samples / "speech.wav"), "-o", str(tmp_path / "out.wav"), "--codec", str(tmp_path / "run/codec")])
        == 0
    )
    assert run(base) == 1
    assert "holds a run already: go on with --resume" in capsys.readouterr().err
    assert run([*base, "steps=6", "--resume"]) == 0
    lines = [json.loads(line)["step"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert lines == [2, 4, 6]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_stopped_is_saved_and_does_not_seem_done(tmp_path, samples, capsys, monkeypatch, number, code):
    take = Trainer.take_step

    def stopped(trainer):
        done = take(trainer)
        os.kill(os.getpid(), number)
        return done

    base = ["train", "tiny", f"data.train={samples}", *SMALL, "-o", str(tmp_path / "run"), "--device", "cpu"]
    before = signal.signal(number, signal.default_int_handler)  # shells ignore interrupts of what runs in the background
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "take_step", stopped)
        assert run(base) == code
    signal.signal(number, before)
    assert "stopped at step 1, and saved: go on with --resume" in capsys.readouterr().err
    assert run([*base, "--resume"]) == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["tny"], "no recipe is called tny (did you mean tiny?)"),
        (["tiny"], "the recipe says nothing about where its audio is: give data.train=FOLDER"),
        (["tiny", "data.train=/nowhere"], "there is no /nowhere"),
        (["tiny", "data.tran=x"], "data.tran is no key of a recipe: did you mean train?"),
        (["tiny", "losses.mell={}", "data.train=SAMPLES"], "losses.mell: there is no loss 'mell'"),
        (["tiny", "data.train=SAMPLES", "--resume"], "holds no run to go on with"),
    ],
)
def test_what_is_wrong_is_one_sentence(given, message, tmp_path, samples, capsys):
    given = [part.replace("SAMPLES", str(samples)) for part in given]
    assert run(["train", *given, "-o", str(tmp_path / "run"), "--device", "cpu"]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


def test_help_and_completion_need_no_torch():
    code = (
        "import sys; from toneme.cli import run; from toneme.cli.train import complete_recipe; run(['train', '--help']);"
        "assert 'tiny' in complete_recipe('ti'); assert 'torch' not in sys.modules and 'yaml' not in sys.modules"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True)
