"""Weights in and out: safe reading, weight norm in both spellings, one error for all that does not fit."""

import errno
import pickle

import pytest
import torch
from torch import nn

from toneme.codecs.checkpoint import (
    Undrawn,
    fold_weight_norm,
    hash_weights,
    load_exactly,
    load_official,
    load_weights,
    read_checkpoint,
    save_weights,
    tensors_of,
)
from toneme.codecs.errors import CheckpointError


@pytest.fixture
def layer() -> nn.Conv1d:
    torch.manual_seed(0)
    return nn.Conv1d(3, 4, 5)


def test_saved_weights_come_back(layer: nn.Conv1d, tmp_path):
    save_weights(layer.state_dict(), tmp_path / "w.safetensors")
    other = nn.Conv1d(3, 4, 5)
    load_weights(other, tmp_path / "w.safetensors")
    assert torch.equal(other.weight, layer.weight)
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_a_full_disk_is_told_as_such(tmp_path, small_files: int):
    with pytest.raises(OSError, match=r"File too large: .*w\.safetensors") as caught:
        save_weights({"weight": torch.zeros(small_files)}, tmp_path / "w.safetensors")
    assert caught.value.errno == errno.EFBIG
    assert not list(tmp_path.iterdir())


def test_who_may_read_files_of_this_user_may_read_weights(tmp_path):
    (tmp_path / "plain").touch()
    save_weights({"weight": torch.zeros(1)}, tmp_path / "w.safetensors")
    assert (tmp_path / "w.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("content", [None, b"", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      trailing", b"not weights at all"])
def test_missing_and_damaged_files_are_named(layer: nn.Conv1d, tmp_path, content: bytes | None):
    path = tmp_path / "w.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"w\.safetensors"):
        load_weights(layer, path)


def test_nothing_is_loaded_where_something_does_not_fit(layer: nn.Conv1d):
    before = layer.bias.clone()
    with pytest.raises(CheckpointError) as error:
        load_exactly(layer, {"bias": torch.zeros(4), "weight": torch.zeros(4, 3, 6), "extra": torch.zeros(1)}, "here")
    assert "1 unexpected: extra; 1 misshapen: weight [4, 3, 6] (expected [4, 3, 5])" in str(error.value)
    assert torch.equal(layer.bias, before)


def test_the_hash_of_a_file_is_that_of_its_weights(layer: nn.Conv1d, tmp_path):
    weights, path = layer.state_dict() | {"counts": torch.arange(3)}, tmp_path / "w.safetensors"
    save_weights(weights, path)
    assert hash_weights({"a": 1}, weights, path) == hash_weights({"a": 1}, weights)
    save_weights({name: tensor.to(torch.bfloat16) for name, tensor in weights.items()}, path)  # what was read from it is wider
    assert hash_weights({"a": 1}, weights, path) == hash_weights({"a": 1}, weights)


def test_what_is_about_to_be_loaded_draws_no_numbers():
    before = torch.get_rng_state()
    with Undrawn():
        nn.Sequential(nn.Linear(8, 8), nn.Conv1d(8, 8, 3), nn.LSTM(8, 8), nn.Embedding(4, 8))
    assert torch.equal(torch.get_rng_state(), before)


def test_half_precision_widens(layer: nn.Conv1d):
    load_exactly(layer, {name: tensor.half() for name, tensor in layer.state_dict().items()}, "here")
    assert layer.weight.dtype == torch.float32


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("spelling", ["old", "new"])
def test_weight_norm_folds_to_what_torch_multiplies_out(spelling: str, transposed: bool):
    torch.manual_seed(0)
    plain = (nn.ConvTranspose1d if transposed else nn.Conv1d)(3, 4, 5)
    normed = nn.utils.parametrizations.weight_norm(plain)
    with torch.no_grad():
        normed.parametrizations.weight.original0.mul_(1.5)
    weights = dict(normed.state_dict())
    if spelling == "old":
        weights = {
            name.replace("parametrizations.weight.original0", "weight_g").replace(
                "parametrizations.weight.original1", "weight_v"
            ): t
            for name, t in weights.items()
        }
    folded = fold_weight_norm(weights)
    assert set(folded) == {"weight", "bias"}
    torch.testing.assert_close(folded["weight"], normed.weight)


def test_half_a_weight_norm_is_refused():
    with pytest.raises(CheckpointError, match="weight_v"):
        fold_weight_norm({"a.weight_g": torch.ones(2, 1, 1)})


def test_official_names_stacks_and_tables(layer: nn.Conv1d):
    tables = ({"weight": "conv.w", "bias": ("b.0", "b.1", "b.2", "b.3")}, {"weight": "other.weight", "bias": "other.bias"})
    weights = {"conv.w": torch.ones(4, 3, 5), **{f"b.{n}": torch.tensor(float(n)) for n in range(4)}, "b.count": torch.ones(1)}
    load_official(layer, weights, tables, "it", ignored="count$")
    assert layer.bias.tolist() == [0, 1, 2, 3]
    normed = {"other.weight_g": torch.ones(4, 1, 1), "other.weight_v": torch.ones(4, 3, 5), "other.bias": torch.ones(4)}
    load_official(layer, normed, tables, "it")
    torch.testing.assert_close(layer.weight.norm(dim=(1, 2)), torch.ones(4))
    with pytest.raises(CheckpointError, match=r"1 missing: other\.weight_v"):
        load_official(layer, {"other.weight_g": torch.ones(4, 1, 1), "other.bias": torch.ones(4)}, tables, "it")


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


def test_checkpoints_are_read_without_running_their_code(tmp_path, capsys):
    (tmp_path / "evil.th").write_bytes(pickle.dumps({"w": Evil()}))
    torch.save({"state_dict": {"w": torch.ones(2)}, "epoch": 3}, tmp_path / "good.th")
    with pytest.raises(CheckpointError, match="without running code"):
        read_checkpoint(tmp_path / "evil.th")
    assert "code ran" not in capsys.readouterr().out
    assert tensors_of(read_checkpoint(tmp_path / "good.th"))["w"].tolist() == [1, 1]
    with pytest.raises(CheckpointError, match="no checkpoint"):
        read_checkpoint(tmp_path / "none.th")
    with pytest.raises(CheckpointError, match="is a folder, and a checkpoint is a file: pass the one in it"):
        read_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="no tensors"):
        tensors_of({"epoch": 3})


def test_the_hash_tells_weights_and_settings_apart_but_not_order_or_name():
    weights = {"a": torch.ones(2), "b": torch.zeros(3)}
    first = hash_weights({"rate": 1, "name": "x"}, weights)
    assert first == hash_weights({"name": "y", "rate": 1}, dict(reversed(weights.items())))
    assert first != hash_weights({"rate": 2}, weights)
    assert first != hash_weights({"rate": 1}, {**weights, "a": torch.tensor([1.0, 1.0000001])})
    assert len(first) == 16
