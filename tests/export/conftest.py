"""The shipped codec and a small one of the same kind, exported once for all tests."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import toneme
from toneme.codecs.toneme24k import TonemeCodec, TonemeConfig
from toneme.export import storage
from toneme.export.folder import export_codec
from toneme.export.manifest import read_manifest

SMALL = {
    "encoder_dim": 16, "encoder_blocks": (1, 2), "decoder_dim": 16, "decoder_blocks": (1, 1), "latent_dim": 8,
    "codebooks": 4, "codebook_size": 64,
}  # fmt: skip


@pytest.fixture(scope="session")
def small() -> TonemeCodec:
    """An untrained codec of 24 kHz mono with 4 codebooks of 64."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TonemeCodec(TonemeConfig(**SMALL), "small").eval()


@pytest.fixture(scope="session")
def small_folder(small, tmp_path_factory) -> Path:
    """The small codec exported."""
    return _exported(tmp_path_factory, "small", lambda: small)


@pytest.fixture
def apart(small_folder, tmp_path) -> Path:
    """The small codec exported, with its weights beside the graphs, as large ones have them."""
    return written_apart(small_folder, tmp_path / "apart")


@pytest.fixture(scope="session")
def shipped_folder(tmp_path_factory) -> Path:
    """The shipped codec exported."""
    return _exported(tmp_path_factory, "toneme-24k", lambda: toneme.load("toneme-24k"))


def written_apart(folder: Path, to: Path) -> Path:
    """Write an exported codec again, its weights beside the graphs."""
    import onnx

    shutil.copytree(folder, to)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "WITHIN", 0)
        for side in (read_manifest(to).encoder, read_manifest(to).decoder):
            assert side is not None
            storage.write_graph(onnx.load(str(to / side.file)), to, side)
    return to


def _exported(factory: pytest.TempPathFactory, name: str, codec: Callable[[], TonemeCodec]) -> Path:
    """Return the folder of an export that all processes of a run share: the first one makes it, the others wait."""
    root = factory.getbasetemp()
    folder = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "exported" / name
    folder.parent.mkdir(exist_ok=True)
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed
        if not folder.exists():
            export_codec(codec(), folder)
    return folder
