"""The README's own commands and code, run as they stand."""

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import torch

from toneme.cli import main

from .codecs.small_codecs import small_codec

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks() -> list[str]:
    """Return the README's indented blocks, without their indent."""
    found = re.findall(r"(?:(?:^    .*|^)\n)+", README, flags=re.MULTILINE)
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE).strip() for block in found if block.strip()]


@pytest.fixture
def place(tmp_path, monkeypatch):
    # without what a user made of them by the very commands that are run here
    shutil.copytree(ROOT / "samples", tmp_path / "samples", ignore=shutil.ignore_patterns("*.tok"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None), command


def test_the_main_job(place, monkeypatch):
    install, *commands = blocks()[0].split(" && ")
    assert install.startswith("pip install")
    for command in commands:
        run(command, monkeypatch)
    assert (place / "samples" / "speech.tok").stat().st_size > 1000
    assert (place / "speech_decoded.wav").stat().st_size > 100_000


def test_the_second_command_is_what_ci_runs():
    install, command = blocks()[1].split(" && ")
    ci = (ROOT / ".ci" / "run").read_text()
    assert install.removeprefix("pip install ") in ci
    assert command == "pytest -n 2"
    assert "\npytest -q -n 2" in ci


def test_the_python_examples(place):
    code = next(block for block in blocks() if block.startswith("import toneme"))
    kept = [line for line in code.splitlines() if "from_official" not in line]  # needs a download
    names: dict = {}
    exec(compile("\n".join(kept), "README.md", "exec"), names)
    assert names["waveform"].shape[-1] == names["tokens"].n_samples[0]


@pytest.mark.parametrize("name", ["encodec", "encodec, segments", "mimi", "snac", "toneme"])
def test_the_streams(name):
    code = next(block for block in blocks() if block.startswith("encoder, decoder"))
    codec, pieces = small_codec(name), []
    audio = 0.1 * torch.randn(1, codec.spec.channels, 5003, generator=torch.Generator().manual_seed(0))
    speaker = type("Speaker", (), {"write": staticmethod(pieces.append)})
    exec(compile(code, "README.md", "exec"), {"codec": codec, "microphone": audio.split(1000, -1), "speaker": speaker})
    whole = codec(audio)
    assert torch.cat(pieces, -1).shape == whole.shape == audio.shape
    torch.testing.assert_close(torch.cat(pieces, -1), whole, atol=1e-4, rtol=0)  # products of other shapes round otherwise


def test_every_link_leads_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target
