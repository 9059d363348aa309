"""Programs of recipes end in one sentence whatever a user got wrong."""

import errno
import os
import subprocess
import sys

import pytest

from toneme.recipes.errors import RecipeError
from toneme.recipes.program import run_program


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RecipeError("no recipe is called x:\n give another"), "no recipe is called x: give another"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x/config.json"), "x/config.json: No space left on device"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device"),
        (KeyboardInterrupt(), 130),
    ],
)
def test_what_stops_a_program_is_a_sentence_or_a_status(error, code):
    def main():
        raise error

    with pytest.raises(SystemExit) as end:
        run_program(main)
    assert end.value.code == code


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (["refit", "tiny", "data.train=x", "-o", "y"], "there is nothing to refit: name a codec, as init=runs/mine/codec"),
        (["prepare", "tiny", "data.train=x"], "there is no x: give data.train=FOLDER, a manifest (.csv, .jsonl) or tar shards"),
        (["ship", "x", "y"], "no weights at x/model.safetensors: a codec folder has config.json and model.safetensors"),
    ],
)
def test_programs_are_run_so(line, sentence, tmp_path):
    command = [sys.executable, "-P", "-m", f"toneme.recipes.{line[0]}", *line[1:]]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", f"{sentence}\n")
    assert not any(tmp_path.iterdir())
