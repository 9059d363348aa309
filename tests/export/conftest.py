"""The shipped codec and a small one of the same kind, exported once for all tests."""

from pathlib import Path

import pytest
import torch

import toneme
from toneme.codecs.toneme24k import TonemeCodec, TonemeConfig
from toneme.export.folder import export_codec

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
    folder = tmp_path_factory.mktemp("export") / "small"
    export_codec(small, folder)
    return folder


@pytest.fixture(scope="session")
def shipped_folder(tmp_path_factory) -> Path:
    """The shipped codec exported."""
    folder = tmp_path_factory.mktemp("export") / "toneme-24k"
    export_codec(toneme.load("toneme-24k"), folder)
    return folder
