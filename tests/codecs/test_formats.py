"""Token files by suffix and by content: every format returns every field, and foreign files get one sentence."""

import io
import sys
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from toneme.codecs import arrayfile
from toneme.codecs.arrayfile import read_npz, read_safetensors
from toneme.codecs.errors import ShapeError, TokenFileError
from toneme.codecs.formats import read_tokens, save_tokens
from toneme.codecs.tokens import Tokens

from .tokensets import assert_same, make_tokens, token_sets


@pytest.mark.parametrize("suffix", [".tok", ".npz", ".safetensors"])
def test_every_field_comes_back(suffix, tmp_path):
    for tokens in (
        make_tokens(130),
        make_tokens(20, sizes=((4096,), (4096,), (64, 1)), ratios=(1, 2, 4)),
        make_tokens(90, side_period=20),
        make_tokens(0),
        make_tokens(40, sizes=((46656, 1 << 18),)),
    ):
        path = tmp_path / f"made{suffix}"
        save_tokens(tokens, path)
        assert_same(read_tokens(path), tokens)
        with path.open("rb") as file:
            assert_same(read_tokens(file), tokens)
        assert [file.name for file in tmp_path.iterdir()] == [path.name]


@settings(max_examples=40, deadline=None)
@given(token_sets())
def test_arrays_hold_any_tokens(tokens):
    for write, read in ((arrayfile.write_npz, read_npz), (arrayfile.write_safetensors, read_safetensors)):
        assert_same(read(_written(write, tokens)), tokens)


def _written(write, tokens: Tokens) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write(tokens, Path(folder) / "made")
        return (Path(folder) / "made").read_bytes()


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_batches_with_lengths(suffix, tmp_path):
    tokens = replace(
        make_tokens(50, batch=3), lengths=torch.tensor([[50], [20], [0]]), n_samples=torch.tensor([24000, 9600, 0])
    )
    tokens.save(tmp_path / f"made{suffix}")
    assert_same(read_tokens(tmp_path / f"made{suffix}"), tokens)


def test_numpy_reads_the_arrays_without_pickle(tmp_path):
    tokens = make_tokens(50)
    tokens.save(tmp_path / "made.npz")
    tokens.save(tmp_path / "made.npy")
    arrays = np.load(tmp_path / "made.npz", allow_pickle=False)
    np.testing.assert_array_equal(arrays["codes"], tokens.numpy())
    np.testing.assert_array_equal(np.load(tmp_path / "made.npy", allow_pickle=False), tokens.codes[0])
    assert arrays["codes"].dtype == np.uint16


@pytest.mark.parametrize("suffix", [".tok", ".npy", ".ecdc"])
def test_several_items_are_refused_where_one_fits(suffix, tmp_path):
    with pytest.raises(ShapeError, match=r"one item and these tokens 2: save each by tokens\[i\]"):
        make_tokens(10, batch=2).save(tmp_path / f"made{suffix}")
    assert not list(tmp_path.iterdir())


def test_several_streams_do_not_fit_in_npy(tmp_path):
    with pytest.raises(ShapeError, match=r"\.npz, which holds everything"):
        make_tokens(10, sizes=((8,), (8,)), ratios=(1, 2)).save(tmp_path / "made.npy")


def test_suffixes_and_options(tmp_path):
    with pytest.raises(TokenFileError, match=r"saved as \.tok, \.npz"):
        make_tokens(10).save(tmp_path / "made.wav")
    with pytest.raises(ShapeError, match="takes no options"):
        make_tokens(10).save(tmp_path / "made.npz", encoding="packed")
    make_tokens(10).save(tmp_path / "made.tok", encoding="packed")


def test_missing_and_unwritable_places(tmp_path):
    with pytest.raises(TokenFileError, match=r"nothing\.tok cannot be read \(No such file or directory\)"):
        read_tokens(tmp_path / "nothing.tok")
    with pytest.raises(TokenFileError, match="cannot be read"):
        read_tokens(tmp_path)
    for suffix in (".tok", ".npz", ".safetensors", ".npy"):
        with pytest.raises(TokenFileError, match="cannot be written"):
            make_tokens(10).save(tmp_path / "missing" / f"made{suffix}")


def test_standard_input(tmp_path, monkeypatch):
    tokens = make_tokens(60)
    tokens.save(tmp_path / "made.tok")

    class Stdin:
        buffer = io.BytesIO((tmp_path / "made.tok").read_bytes())

    monkeypatch.setattr(sys, "stdin", Stdin)
    assert_same(read_tokens("-"), tokens)


@pytest.mark.parametrize(
    "data", [b"", b"x", b"text, renamed", b"RIFF\x24\0\0\0WAVEfmt ", bytes(100), b"PK\x03\x04" + bytes(40)]
)
def test_foreign_files_are_refused_with_their_name(data, tmp_path):
    path = tmp_path / "made.tok"
    path.write_bytes(data)
    with pytest.raises(TokenFileError, match=r"made\.tok: ") as caught:
        read_tokens(path)
    assert "\n" not in str(caught.value)


def rewrite_npz(tokens: Tokens, **changes) -> bytes:
    """Return the `.npz` of tokens with some arrays replaced (None: left out)."""
    arrays = dict(np.load(io.BytesIO(_written(arrayfile.write_npz, tokens)))) | changes
    file = io.BytesIO()
    np.savez(file, **{name: values for name, values in arrays.items() if values is not None})
    return file.getvalue()


@pytest.mark.parametrize(
    "changes",
    [
        {"codes": None},
        {"about": None},
        {"about": np.array("{}")},
        {"about": np.array("[" * 100_000)},
        {"codes": np.zeros((1, 2, 10), np.float32)},
        {"codes": np.full((1, 2, 10), 1024)},
        {"codes": np.full((1, 2, 10), -1)},
        {"codes": np.zeros((1, 3, 10), np.int64)},
        {"codes": np.zeros((2, 2, 10), np.int64)},
        {"codes": np.array([{}], dtype=object)},
        {"lengths": np.array([[11]])},
        {"lengths": np.array([10])},
        {"n_samples": np.array([-1])},
        {"n_samples": np.array([1.5])},
        {"side.scale": None},
        {"side.scale": np.zeros((1, 99), np.float32)},
    ],
    ids=repr,
)
def test_arrays_that_do_not_fit_together(changes):
    tokens = make_tokens(10, sizes=((1024, 1024),), side_period=5)
    with pytest.raises(TokenFileError):
        read_npz(rewrite_npz(tokens, **changes))
    assert_same(read_npz(rewrite_npz(tokens)), tokens)


def test_objects_in_an_npz_are_not_unpickled(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    data = rewrite_npz(make_tokens(10, sizes=((8,),)), codes=np.array([Evil()], dtype=object))
    with pytest.raises(TokenFileError, match="not that of a plain array"):
        read_npz(data)
    assert not (tmp_path / "ran").exists()


def test_archives_that_grow_are_refused():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("codes.npy", bytes(arrayfile.MAX_INFLATED + 1))
    assert len(file.getvalue()) < 1 << 17
    with pytest.raises(TokenFileError, match="claims 1 arrays"):
        read_npz(file.getvalue())
