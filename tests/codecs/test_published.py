"""Official codecs in several files: folders, mappings, and what is missing."""

import numpy as np
import pytest
import torch

from toneme.codecs.errors import CheckpointError
from toneme.codecs.published import Published

TWO = Published(dict, {"encoder": ("deep/encoder.ckpt", "encoder.ckpt"), "centres": ("*.npy",)})  # pyright: ignore


@pytest.fixture
def folder(tmp_path):
    torch.save({"state_dict": {"w": torch.ones(2)}}, tmp_path / "encoder.ckpt")
    np.save(tmp_path / "a.npy", np.arange(6.0).reshape(2, 3))
    return tmp_path


def test_a_folder_and_a_mapping_read_alike(folder):
    for checkpoint in (
        folder, str(folder), {"encoder": folder / "encoder.ckpt", "centres": folder / "a.npy"},
        {"encoder": {"w": torch.ones(2)}, "centres": np.load(folder / "a.npy")},
    ):  # fmt: skip
        weights = TWO.read(checkpoint)
        assert sorted(weights) == ["centres.", "encoder.w"]
        assert weights["centres."].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_the_first_pattern_counts(folder):
    (folder / "deep").mkdir()
    torch.save({"w": torch.zeros(2)}, folder / "deep" / "encoder.ckpt")
    assert not TWO.read(folder)["encoder.w"].any()


def test_what_is_missing_or_twice_there_is_said(folder):
    np.save(folder / "b.npy", np.zeros(1))
    with pytest.raises(CheckpointError, match="one file for the part centres"):
        TWO.read(folder)
    with pytest.raises(CheckpointError, match=r"parts encoder, centres; got \['encoder'\]"):
        TWO.read({"encoder": {}})
    with pytest.raises(CheckpointError, match="is no folder"):
        TWO.read(folder / "a.npy")
    (folder / "b.npy").unlink()
    (folder / "a.npy").write_bytes(b"no array")
    with pytest.raises(CheckpointError, match="not a readable array"):
        TWO.read(folder)
