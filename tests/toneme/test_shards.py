"""`codec shards` as users start it, and what `codec tokenize` says of sizes and of recordings that are gone."""

import json

import pytest

from toneme.lm.shards import read_shards


@pytest.fixture
def data(wav, tmp_path):
    for i in range(4):
        wav(f"data/{i}.wav", seconds=0.2 + 0.1 * i)
    return tmp_path / "data"


@pytest.fixture
def made(codec, data, tiny, tmp_path):
    assert codec("tokenize", data, "-o", tmp_path / "old", "-c", tiny, "--files-per-shard", 3, "--workers", 0).code == 0
    return tmp_path / "old"


def paths(folder):
    return [tokens.metadata["path"] for tokens in read_shards(folder)]


def test_shards_are_cut_anew(codec, data, made, tmp_path):
    (data / "1.wav").unlink()
    ran = codec("shards", made, "-o", tmp_path / "new", "--files-per-shard", 2, "--format", "npz")
    assert (ran.code, ran.err) == (0, "")
    assert b"new: 4 recordings, 0.00 h, 2 shards" in ran.out
    assert paths(tmp_path / "new") == paths(made) == [f"{i}.wav" for i in range(4)]
    ran = codec("shards", made, "-o", tmp_path / "fewer", "--drop-missing")
    assert (ran.code, ran.sentence) == (0, "codec: 1 recordings that are gone were left out")
    assert paths(tmp_path / "fewer") == ["0.wav", "2.wav", "3.wav"]
    told = json.loads(codec("shards", made, "-o", tmp_path / "fewer", "--drop-missing", "--json").out)
    assert (told["items"], told["dropped"], told["output"]) == (3, ["1.wav"], str(tmp_path / "fewer"))


def test_tokenize_names_the_remedies(codec, data, made, tiny):
    line = ["tokenize", data, "-o", made, "-c", tiny, "--workers", 0]
    ran = codec(*line, "--files-per-shard", 2)
    assert ran.code == 1
    assert f"or cut them anew with `codec shards {made} -o NEW --files-per-shard 2`" in ran.sentence
    (data / "2.wav").unlink()
    assert len(json.loads(codec(*line, "--json").out)["failures"]) == 0
    assert len(paths(made)) == 4
    ran = codec(*line, "--drop-missing")
    assert (ran.code, ran.sentence) == (0, "codec: 1 recordings that are gone were taken out of the shards")
    assert paths(made) == ["0.wav", "1.wav", "3.wav"]


def test_failures_are_one_sentence(codec, data, made, tmp_path):
    assert codec("shards", made, "-o", "-").code == 2
    assert codec("shards", made, "-o", tmp_path / "x", "--format", "csv").code == 2
    assert codec("shards", made).code == 2
    ran = codec("shards", data, "-o", tmp_path / "x")
    assert (ran.code, "is no folder of shards" in ran.sentence) == (1, True)
    ran = codec("shards", made, "-o", made)
    assert (ran.code, "holds the shards themselves" in ran.sentence) == (1, True)
    assert not (tmp_path / "x").exists()
