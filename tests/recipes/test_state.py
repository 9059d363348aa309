"""States on disk: one that cannot be written says why, and leaves nothing behind."""

import errno
import pickle

import pytest
import torch

from toneme.recipes.state import read_file, write_file


@pytest.mark.parametrize("tensors", [1, 200])
def test_a_full_disk_is_told_as_such(tmp_path, small_files: int, tensors: int):
    state = {str(i): torch.zeros(small_files // tensors) for i in range(tensors)}
    with pytest.raises(OSError, match="File too large") as caught:
        write_file(state, tmp_path / "step.pt")
    assert caught.value.errno == errno.EFBIG
    assert not list(tmp_path.iterdir())


def test_what_pytorch_refuses_stays_its_error(tmp_path):
    with pytest.raises((AttributeError, pickle.PicklingError), match="local object"):
        write_file({"state": lambda: None}, tmp_path / "step.pt")
    assert not list(tmp_path.iterdir())


def test_a_state_comes_back(tmp_path):
    write_file({"step": 3, "weights": torch.arange(5)}, tmp_path / "step.pt")
    found = read_file(tmp_path / "step.pt")
    assert found is not None
    assert found["step"] == 3
    assert torch.equal(found["weights"], torch.arange(5))
