"""Fixtures for every test: the corpus where there is one, made samples where there is none."""

import importlib.machinery
import os
import resource
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from toneme.codecs.audio import read_audio
from toneme.kernels import native

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "samples"
WITHOUT_CORPUS = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Use the cores that this process may use, two at most, shared with the other processes of `pytest -n`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    torch.set_num_threads(max(1, min(2, cores) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))))
    config.stash[WITHOUT_CORPUS] = []
    stand_in_for_torchaudio()


def stand_in_for_torchaudio() -> None:
    """Let peers that import torchaudio be imported where its wheel, built for CUDA, cannot load beside this torch.

    EnCodec and transformers need it for reading files only, which no test of ours asks of them.
    """
    try:
        import torchaudio  # noqa: F401  # pyright: ignore[reportMissingImports]
    except (ImportError, OSError):
        for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
            del sys.modules[name]
        empty = types.ModuleType("torchaudio")
        empty.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
        sys.modules["torchaudio"] = empty


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell the process that `pytest -n` started first which tests of this one had to do without recordings."""
    if (told := getattr(session.config, "workeroutput", None)) is not None:
        told["without_corpus"] = session.config.stash[WITHOUT_CORPUS]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what `pytest_sessionfinish` tells."""
    node.config.stash[WITHOUT_CORPUS] += getattr(node, "workeroutput", {}).get("without_corpus", [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which tests had to do without recordings."""
    if names := config.stash[WITHOUT_CORPUS]:
        terminalreporter.write_line(
            f"{len(names)} tests ran on made samples only: no corpus at {corpus_path()} (set TONEME_CORPUS to its folder)"
        )


def corpus_path() -> Path:
    """Return where the corpus is looked for."""
    return Path(os.environ.get("TONEME_CORPUS") or ROOT.parent / "shared" / "data")


@pytest.fixture
def corpus(request: pytest.FixtureRequest) -> Path | None:
    """Folder of recordings (`manifest.csv`, `eval/`, `train/`), or None where there is none."""
    path = corpus_path()
    if (path / "manifest.csv").is_file():
        return path
    request.config.stash[WITHOUT_CORPUS].append(request.node.nodeid)
    return None


@pytest.fixture(scope="session")
def samples() -> Path:
    """Folder of made samples."""
    return SAMPLES


@pytest.fixture
def speech() -> Tensor:
    """Six seconds of made speech [1, samples] at 24 kHz."""
    return read_audio(SAMPLES / "speech.wav")[0]


@pytest.fixture
def music() -> Tensor:
    """Four seconds of made stereo music [2, samples] at 48 kHz."""
    return read_audio(SAMPLES / "music.flac")[0]


@pytest.fixture(params=["native", "torch"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the kernels in C, and with PyTorch in their place."""
    if request.param == "torch":
        monkeypatch.setattr(native, "library", lambda: None)
    elif native.library() is None:
        pytest.skip("no kernels in C here")
    return request.param


@pytest.fixture
def small_files() -> Iterator[int]:
    """Let this process write no file of more bytes than the value, as on a disk that fills up."""
    most, before = 8192, resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    yield most
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
