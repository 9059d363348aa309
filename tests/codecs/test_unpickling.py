"""Files with objects beside their tensors: nothing of them is made or run, and the tensors come out."""

import collections
import datetime
import io
import pathlib
import pickle
import zipfile

import pytest
import torch
from torch._utils import _rebuild_tensor_v2

from toneme.codecs.checkpoint import read_checkpoint, tensors_of
from toneme.codecs.errors import CheckpointError
from toneme.codecs.unpickling import Inert, read_tensors

WEIGHTS = {"layer.weight": torch.arange(6.0).reshape(2, 3), "layer.bias": torch.ones(2, dtype=torch.float16)}


class Evil:
    """An object whose pickle calls a function."""

    def __reduce__(self):
        return (print, ("code ran",))


class Settings(dict):
    """A mapping of a class of its own, as configurations are."""


STRAYS = {
    "bytes": io.BytesIO(b"a file"), "path": pathlib.PurePosixPath("/a/b"), "settings": Settings(a=[1], b=Settings()),
    "when": datetime.datetime(2024, 1, 2), "counts": collections.Counter("aab"), "kind": torch.float32, "evil": Evil(),
    "defaults": collections.defaultdict(list, a=[2]), "kept": collections.deque([1, 2]), "module": torch.nn.Linear(1, 1),
}  # fmt: skip


@pytest.mark.parametrize("name", STRAYS)
def test_tensors_come_out_from_beside_a_stray_object(name: str, tmp_path, capsys):
    torch.save(WEIGHTS | {name: STRAYS[name]}, tmp_path / "flat.pth")
    lightning = {"state_dict": collections.OrderedDict(WEIGHTS), "hyper_parameters": {name: STRAYS[name]}, "epoch": 3}
    torch.save(lightning, tmp_path / "lightning.ckpt")
    for file in tmp_path.iterdir():
        found = tensors_of(read_checkpoint(file))
        assert list(found) == list(WEIGHTS)
        assert all(torch.equal(found[key], tensor) and found[key].dtype == tensor.dtype for key, tensor in WEIGHTS.items())
    assert "code ran" not in capsys.readouterr().out


def test_parameters_and_shared_storage_are_tensors(tmp_path):
    whole = torch.arange(4.0)
    torch.save({"a": torch.nn.Parameter(whole), "b": whole[1:3], "stray": STRAYS["bytes"]}, tmp_path / "w.pth")
    content = read_tensors(tmp_path / "w.pth")
    assert content["a"].tolist() == [0, 1, 2, 3]
    assert content["b"].tolist() == [1, 2]
    assert isinstance(content["stray"], Inert)


def test_what_a_pickle_finds_it_cannot_change(tmp_path):
    changes = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}X\x0c\x00\x00\x00__defaults__K\x01\x85s\x86b."
    torch.save({"w": torch.ones(1), "stray": STRAYS["bytes"]}, tmp_path / "w.pth")
    before = _rebuild_tensor_v2.__defaults__
    with zipfile.ZipFile(tmp_path / "w.pth") as good, zipfile.ZipFile(tmp_path / "bad.pth", "w") as bad:
        for name in good.namelist():
            bad.writestr(name, changes if name.endswith("data.pkl") else good.read(name))
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path / "bad.pth")
    assert _rebuild_tensor_v2.__defaults__ == before


@pytest.mark.parametrize("content", [pickle.dumps(WEIGHTS | {"x": Evil()}), b"", b"PK\x03\x04", b"text"])
def test_other_files_are_refused(content: bytes, tmp_path, capsys):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match="not a file of tensors"):
        read_tensors(tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="without running code"):
        read_checkpoint(tmp_path / "w.pth")
    assert "code ran" not in capsys.readouterr().out


def test_a_program_is_refused(tmp_path):
    torch.save(WEIGHTS | {"stray": STRAYS["bytes"]}, tmp_path / "w.pt")
    with zipfile.ZipFile(tmp_path / "w.pt", "a") as file:
        file.writestr("w/constants.pkl", pickle.dumps(()))  # what tells TorchScript's files
    with pytest.raises(CheckpointError, match="not a file of tensors"):
        read_tensors(tmp_path / "w.pt")


@pytest.mark.parametrize("content", [[torch.ones(1)], torch.ones(1), torch.nn.Linear(1, 1)])
def test_a_file_of_something_else_says_what_to_save(content, tmp_path):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="not a state dict: save the state_dict"):
        read_checkpoint(tmp_path / "w.pth")
