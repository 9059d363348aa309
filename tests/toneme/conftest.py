"""A small untrained codec, made audio, and the command as users start it, but in this process."""

import io
import signal
import sys
from dataclasses import dataclass

import numpy as np
import pytest
import soundfile
import torch

from toneme.cli import run
from toneme.codecs.toneme24k import TonemeCodec, TonemeConfig

SMALL = {"encoder_dim": 16, "encoder_blocks": (1, 1), "decoder_dim": 16, "decoder_blocks": (1, 1), "latent_dim": 8}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Folder of an untrained codec of 24 kHz mono with 8 codebooks of 1024."""
    return make_codec(tmp_path_factory.mktemp("codecs") / "tiny", seed=0)


@pytest.fixture(scope="session")
def other(tmp_path_factory):
    """As `tiny`, by the same name, with other weights."""
    return make_codec(tmp_path_factory.mktemp("codecs") / "other", seed=1)


def make_codec(folder, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        TonemeCodec(TonemeConfig(**SMALL), "tiny").eval().save(folder)
    return folder


def heed_interrupts():
    """Undo in a new process what shells do to those in the background, and nohup to all, where signals are ignored."""
    for number in signal.SIGINT, signal.SIGHUP:
        signal.signal(number, signal.SIG_DFL)


@dataclass
class Ran:
    """What a command line did."""

    code: int
    out: bytes
    err: str

    @property
    def sentence(self) -> str:
        """The one line on stderr."""
        lines = self.err.strip().split("\n")
        assert len(lines) == 1, self.err
        assert lines[0].startswith("codec: "), self.err
        assert "Traceback" not in self.err
        assert "this is a bug" not in self.err, self.err
        return lines[0]


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    """Keep graphs that the user's own cache holds out of the tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def codec(capsysbinary, monkeypatch):
    """Run `codec` with arguments and bytes on stdin."""

    def command(*args, stdin=b"") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsysbinary.readouterr()
        code = run([str(arg) for arg in args])
        seen = capsysbinary.readouterr()
        return Ran(code, seen.out, seen.err.decode())

    return command


def tone(seconds=1.0, rate=24000, channels=1):
    """Return a sum of sines with a slow swell, [samples, channels]."""
    t = np.arange(round(seconds * rate)) / rate
    left = 0.3 * np.sin(2 * np.pi * 330 * t) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * t)) + 0.1 * np.sin(2 * np.pi * 1234 * t)
    return np.stack([left * (1 - 0.5 * c / channels) for c in range(channels)], axis=1)


@pytest.fixture
def wav(tmp_path):
    """Write a tone and return its path."""

    def write(name="a.wav", seconds=1.0, rate=24000, channels=1, **options):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tone(seconds, rate, channels), rate, **options)
        return path

    return write


@pytest.fixture
def tok(codec, wav, tiny, tmp_path):
    """Return the path of a token file of one second."""
    path = tmp_path / "made" / "a.tok"
    assert codec("encode", wav("made/a.wav"), "-c", tiny, "-o", path).code == 0
    return path


def leftovers(folder):
    """Return the names of unfinished files in a folder and below."""
    return [path.name for path in folder.rglob("*") if ".part" in path.name]
