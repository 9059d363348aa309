"""Graphs that are kept: what runs a codec fastest here, and what else runs it."""

import errno
import json
import shutil

import pytest

from toneme.codecs.errors import CheckpointError
from toneme.codecs.toneme24k import TonemeCodec
from toneme.export import cache
from toneme.export.codec import ExportedCodec
from toneme.export.manifest import FORMAT


@pytest.fixture
def saved(small, tmp_path, monkeypatch):
    """Folder of the small codec; the cache is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    small.save(tmp_path / "small")
    return tmp_path / "small"


@pytest.fixture
def kept(small, small_folder, saved):
    """Folder of its graphs in the cache."""
    return shutil.copytree(small_folder, cache.place(small))


def test_torch_runs_what_was_not_exported(saved):
    assert isinstance(cache.fastest(saved), TonemeCodec)


def test_kept_graphs_run_where_they_can(saved, kept, monkeypatch):
    codec = cache.fastest(saved)
    assert isinstance(codec, ExportedCodec)
    assert codec.runtime.folder == kept
    assert isinstance(cache.fastest(saved, threads=2), ExportedCodec)
    monkeypatch.setattr(cache, "find_spec", lambda name: None)  # onnxruntime is not installed
    assert isinstance(cache.fastest(saved), TonemeCodec)


def test_torch_runs_families_that_are_faster_so_with_more_than_one_thread(saved, kept, monkeypatch):
    monkeypatch.setattr(cache, "ALONE", ("toneme",))
    assert isinstance(cache.fastest(saved, threads=2), TonemeCodec)
    assert isinstance(cache.fastest(saved, threads=1), ExportedCodec)


def test_graphs_that_were_kept_before_they_called_kernels_are_left(saved, kept, small):
    kept.rename(kept.with_name(f"small-{small.weights_hash}-{FORMAT}"))
    assert isinstance(cache.fastest(saved), TonemeCodec)


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC])
def test_a_cache_that_cannot_be_written_is_one_sentence(saved, small, monkeypatch, number):
    def denied(codec, folder):
        raise OSError(number, "it is denied", str(folder))

    monkeypatch.setattr("toneme.export.folder.export_codec", denied)
    with pytest.raises(CheckpointError, match=r"cannot be kept in .*\(it is denied\): set XDG_CACHE_HOME"):
        cache.exported(saved)


def test_kept_graphs_run_on_the_cpu_alone(saved, kept, monkeypatch):
    monkeypatch.setattr(cache, "pick_device", lambda device: "cuda")  # though there is none to load it to
    monkeypatch.setattr(cache, "load", lambda name, device: TonemeCodec.from_folder(name))
    assert isinstance(cache.fastest(saved), TonemeCodec)


def test_graphs_of_other_weights_do_not_count(saved, kept, small):
    other = TonemeCodec(small.config, "small").eval()
    other.save(saved)
    assert isinstance(cache.fastest(saved), TonemeCodec)


def test_torch_runs_where_the_cache_cannot_be_read(saved, kept, monkeypatch):
    def denied(path, *args, **options):
        raise PermissionError(13, "Permission denied", str(path))

    stat = cache.Path.stat  # tests that run as root are denied nothing: both ways to look are
    monkeypatch.setattr(cache.Path, "stat", lambda path, **how: (denied if kept in path.parents else stat)(path, **how))
    monkeypatch.setattr(cache.os, "access", lambda path, mode: False)
    assert isinstance(cache.fastest(saved), TonemeCodec)


def test_torch_runs_where_there_is_no_home(saved, small, monkeypatch):
    def homeless(cls):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(cache.Path, "home", classmethod(homeless))
    assert isinstance(cache.fastest(saved), TonemeCodec)
    with pytest.raises(CheckpointError, match="XDG_CACHE_HOME"):
        cache.place(small)


@pytest.mark.parametrize(("side", "missing"), [("encoder", False), ("decoder", False), ("encoder", True)])
def test_torch_runs_what_graphs_do_in_chunks_or_one_way_alone(saved, kept, side, missing):
    about = json.loads((kept / "codec.json").read_text())
    chunks = {**about[side], "mode": "chunks", "chunk": 2, "states": []}
    (kept / "codec.json").write_text(json.dumps({**about, side: None if missing else chunks}))
    assert isinstance(cache.fastest(saved), TonemeCodec)


def test_a_folder_of_graphs_runs_by_itself(small_folder):
    for threads in (1, 2):
        codec = cache.fastest(small_folder, threads=threads)
        assert isinstance(codec, ExportedCodec)
        assert codec.runtime._threads == threads


def test_damaged_graphs_are_refused(saved, kept):
    (kept / "codec.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"codec\.json"):
        cache.fastest(saved)


def test_graphs_of_another_codec_are_refused(small_folder, small):
    assert cache.made(small, small_folder).runtime.folder == small_folder
    with pytest.raises(CheckpointError, match="other weights"):
        cache.made(TonemeCodec(small.config, "small").eval(), small_folder)
