"""`codec tokenize` as users start it."""

import json

import pytest

from toneme.lm.shards import read_shards


@pytest.fixture
def data(wav, tmp_path):
    for i in range(3):
        wav(f"data/deep/{i}.wav", seconds=0.2 + 0.1 * i)
    (tmp_path / "data" / "bad.flac").write_bytes(b"no audio")
    return tmp_path / "data"


def test_a_folder_becomes_shards(codec, data, tiny, tmp_path):
    ran = codec("tokenize", data, "-o", tmp_path / "out", "-c", tiny, "--bitrate", "1", "--workers", "0")
    assert ran.code == 0
    assert b"3 recordings, 0.00 h, 4 shards" in ran.out
    assert b"2 codebooks; this run: 4 files" in ran.out
    assert "codec: left out: " in ran.err
    assert "bad.flac" in ran.sentence
    shards = read_shards(tmp_path / "out")
    assert [tokens.metadata["path"] for tokens in shards] == ["deep/0.wav", "deep/1.wav", "deep/2.wav"]
    again = codec("tokenize", data, "-o", tmp_path / "out", "-c", tiny, "--bitrate", "1", "--workers", "0", "--json")
    told = json.loads(again.out)
    assert (told["files"], told["items"], told["codebooks"]) == (0, 3, 2)
    assert [failure["path"] for failure in told["failures"]] == ["bad.flac"]


@pytest.mark.parametrize("kind", ["webdataset", "npz"])
def test_formats(codec, data, tiny, tmp_path, kind):
    assert codec("tokenize", data, "-o", tmp_path / "out", "-c", tiny, "--format", kind, "--workers", "0").code == 0
    assert len(read_shards(tmp_path / "out")) == 3


def test_paths_are_those_below_the_folder_and_count_once(codec, data, tiny, tmp_path):
    (data / "bad.flac").unlink()
    options = ("-o", tmp_path / "out", "-c", tiny, "--workers", "0")
    assert codec("tokenize", data, *options).code == 0
    assert [tokens.metadata["path"] for tokens in read_shards(tmp_path / "out")] == ["deep/0.wav", "deep/1.wav", "deep/2.wav"]
    again = codec("tokenize", data, data / "deep" / "1.wav", *options, "--json")
    assert (json.loads(again.out)["files"], json.loads(again.out)["items"]) == (0, 3)


def test_failures_are_one_sentence(codec, data, tiny, other, tmp_path):
    assert codec("tokenize", data, "-o", tmp_path / "out", "-c", tiny, "--workers", "0").code == 0
    changed = codec("tokenize", data, "-o", tmp_path / "out", "-c", other, "--workers", "0")
    assert changed.code == 1
    assert "name another folder" in changed.sentence
    assert codec("tokenize", data, "-o", tmp_path / "x", "-c", tiny, "--format", "csv").code == 2
    assert codec("tokenize", data, "-o", "-", "-c", tiny).code == 2
    assert codec("tokenize", tmp_path / "none", "-o", tmp_path / "x", "-c", tiny).code == 1
    nothing = codec("tokenize", data / "bad.flac", "-o", tmp_path / "y", "-c", tiny, "--workers", "0")
    assert nothing.code == 1
    assert "none of 1 files could be tokenised" in nothing.err
