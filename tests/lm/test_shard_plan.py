"""Plans of shards: what is written beside them, whatever the locale."""

import hashlib
import os
import subprocess
import sys
from collections import Counter

import pytest
import soundfile

from toneme.lm import shard_plan
from toneme.lm.shards import read_shards
from toneme.lm.tokenizing import tokenize

from .made import make_codec, make_recordings

MAKE = """
import sys
from pathlib import Path
from toneme.lm.shard_item import About
from toneme.lm.shard_plan import ShardFolder

about = About("m\\u00fcller", "0123", 24000, 1, (50.0,), ((1024,),))
ShardFolder.plan(Path(sys.argv[1]), about, ".parquet", ["\\u3042.wav"])
"""


def test_the_card_is_utf_8_where_the_locale_is_not(tmp_path):
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", MAKE, str(tmp_path)], env={**os.environ, **ascii_only}, check=True)
    assert "codebooks of m\u00fcller with" in (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "\\u3042.wav" in (tmp_path / "plan.jsonl").read_text(encoding="ascii")


@pytest.fixture(scope="module")
def codec(tmp_path_factory):
    return str(make_codec(tmp_path_factory.mktemp("codec") / "tiny"))


def replace_audio(path):
    """Put other audio under a recording's name, later than its shard was made by any clock."""
    soundfile.write(path, soundfile.read(path)[0][::-1] * 0.5, 16000)
    os.utime(path, (os.stat(path).st_mtime + 60,) * 2)


def held(folder):
    """Return [path, hash, codes] of all items, in order of paths."""
    return sorted([*tokens.metadata.values(), tokens.codes.tolist()] for tokens in read_shards(folder))


@pytest.mark.parametrize("kind", ["parquet", "webdataset", "npz"])
def test_a_recording_that_is_another_now_is_tokenised_again_and_no_other(tmp_path, codec, kind):
    data, out = make_recordings(tmp_path / "data", 7), tmp_path / "out"
    tokenize(data, out, codec, format=kind, workers=0, files_per_shard=4)
    replace_audio(data[1])
    data[2].unlink()  # of the same shard: what was made of it must not need it again
    again = tokenize([path for path in data if path != data[2]], out, codec, format=kind, workers=0)
    assert (again["files"], again["items"], again["failures"], again["renewed"]) == (1, 7, [], ["right/001.wav"])
    found = {path: sha for path, sha, _ in held(out)}
    assert found["right/001.wav"] == hashlib.sha256(data[1].read_bytes()).hexdigest()
    fresh = tokenize([data[1]], tmp_path / "fresh", codec, format=kind, workers=0, root=tmp_path / "data")
    assert fresh["items"] == 1
    assert [item for item in held(out) if item[0] == "right/001.wav"] == held(tmp_path / "fresh")
    assert tokenize([data[0], data[1]], out, codec, format=kind, workers=0)["files"] == 0


def test_a_recording_that_was_only_touched_is_hashed_once(tmp_path, codec, monkeypatch):
    data, out, hashed = make_recordings(tmp_path / "data", 4), tmp_path / "out", []
    tokenize(data, out, codec, workers=0, files_per_shard=4)
    before, now = held(out), os.stat(out / "shard-000000.json").st_mtime
    os.utime(out / "shard-000000.json", (now - 100, now - 100))
    sha256_of = shard_plan.sha256_of
    monkeypatch.setattr(shard_plan, "sha256_of", lambda path: hashed.append(path) or sha256_of(path))
    for _ in range(2):
        done = tokenize(data, out, codec, workers=0)
        assert (done["files"], done["renewed"], len(hashed)) == (0, [], 4)
    assert held(out) == before


def test_variants_in_other_shards_are_made_again_too(tmp_path, codec):
    data, out = make_recordings(tmp_path / "data", 3), tmp_path / "out"
    tokenize(data, out, codec, workers=0, files_per_shard=2, variants=3)
    replace_audio(data[0])
    assert tokenize(data, out, codec, workers=0)["files"] == 3  # as many variants as there were
    wanted = hashlib.sha256(data[0].read_bytes()).hexdigest()
    assert Counter(path for path, _, _ in held(out)) == {"left/000.wav": 3, "right/001.wav": 3, "left/002.wav": 3}
    assert {sha for path, sha, _ in held(out) if path == "left/000.wav"} == {wanted}


@pytest.mark.parametrize("place", ["write_shard", "ShardFolder.finish", "atomic_path"])
def test_ended_while_a_shard_is_written_anew_nothing_is_lost_or_doubled(tmp_path, codec, monkeypatch, place):
    data, out = make_recordings(tmp_path / "data", 5), tmp_path / "out"
    tokenize(data, out, codec, workers=0, files_per_shard=3)
    replace_audio(data[1])

    def ended(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"toneme.lm.shard_plan.{place}", ended)
        with pytest.raises(KeyboardInterrupt):
            tokenize(data, out, codec, workers=0)
    done = tokenize(data, out, codec, workers=0)
    assert (done["items"], done["failures"]) == (5, [])
    hashes = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in data)
    assert sorted(sha for _, sha, _ in held(out)) == hashes


def test_a_damaged_shard_with_newer_recordings_is_made_anew(tmp_path, codec):
    data, out = make_recordings(tmp_path / "data", 3), tmp_path / "out"
    tokenize(data, out, codec, workers=0, files_per_shard=3)
    before, shard = held(out), out / "shard-000000.parquet"
    shard.write_bytes(bytes(shard.stat().st_size))
    replace_audio(data[2])
    assert tokenize(data, out, codec, workers=0)["files"] == 3
    assert held(out)[:1] == before[:1]
    assert len(held(out)) == 3
