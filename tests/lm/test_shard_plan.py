"""Plans of shards: what is written beside them, whatever the locale."""

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter

import pytest
import soundfile

from toneme.codecs.errors import TonemeError
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


def test_another_size_of_shards_is_refused_and_none_is_that_of_before(tmp_path, codec):
    data, out = make_recordings(tmp_path / "data", 9), tmp_path / "out"
    tokenize(data[:3], out, codec, workers=0, files_per_shard=2)
    words = r"cut into shards of up to 2 recordings; got 4 for each: .* `codec shards .*out -o NEW --files-per-shard 4`"
    with pytest.raises(TonemeError, match=words):
        tokenize(data, out, codec, workers=0, files_per_shard=4)
    assert tokenize(data[:6], out, codec, workers=0)["shards"] == 4
    assert [len(shard) for shard in shard_plan.ShardFolder.open(out).shards] == [2, 1, 2, 1]
    assert tokenize(data, out, codec, workers=0, files_per_shard=2)["items"] == 9
    tokenize(data, tmp_path / "auto", codec, workers=0)
    with pytest.raises(TonemeError, match="cut into shards of up to 1 recordings; got 2 for each"):
        tokenize(data, tmp_path / "auto", codec, workers=0, files_per_shard=2)


def test_folders_that_do_not_say_their_size_go_on_by_what_is_in_them(tmp_path, codec):
    data, out = make_recordings(tmp_path / "data", 5), tmp_path / "out"
    tokenize(data[:4], out, codec, workers=0, files_per_shard=2)
    told = json.loads((out / "shards.json").read_text())
    assert told.pop("files_per_shard") == 2
    (out / "shards.json").write_text(json.dumps(told))  # as they were written before
    with pytest.raises(TonemeError, match="cut into shards of up to 2 recordings; got 3 for each"):
        tokenize(data, out, codec, workers=0, files_per_shard=3)
    assert tokenize(data[:4], out, codec, workers=0)["files"] == 0
    assert "files_per_shard" not in json.loads((out / "shards.json").read_text())
    assert tokenize(data, out, codec, workers=0, files_per_shard=2)["items"] == 5
    assert json.loads((out / "shards.json").read_text())["files_per_shard"] == 2


@pytest.mark.parametrize("kind", ["parquet", "webdataset", "npz"])
def test_what_was_made_of_recordings_that_are_gone_is_dropped_where_that_is_asked_for(tmp_path, codec, kind):
    data, out = make_recordings(tmp_path / "data", 7), tmp_path / "out"
    options = {"format": kind, "workers": 0, "variants": 2}
    tokenize(data, out, codec, files_per_shard=4, **options)
    before = held(out)
    data[2].unlink()
    replace_audio(data[3])  # of the same shard
    files = [path for path in data if path.exists()]
    assert tokenize(files, out, codec, **options)["items"] == 14
    told = tokenize(files[:3], out, codec, drop_missing=True, **options)  # others that are there stay
    assert (told["files"], told["items"], told["dropped"], told["failures"]) == (0, 12, ["left/002.wav"], [])
    kept = [item for item in held(out) if item[0] != "right/003.wav"]
    assert kept == [item for item in before if item[0] not in ("left/002.wav", "right/003.wav")]
    assert tokenize(files, out, codec, drop_missing=True, **options)["dropped"] == []
    tokenize(files, tmp_path / "fresh", codec, files_per_shard=4, **options)
    assert held(out) == held(tmp_path / "fresh")


def test_what_is_gone_and_what_is_another_in_one_shard_are_both_seen_to(tmp_path, codec):
    data, out = make_recordings(tmp_path / "data", 4), tmp_path / "out"
    tokenize(data, out, codec, workers=0, files_per_shard=4)
    data[0].unlink()
    replace_audio(data[1])
    told = tokenize(data[1:], out, codec, workers=0, drop_missing=True)
    assert (told["files"], told["items"], told["dropped"], told["renewed"]) == (1, 3, ["left/000.wav"], ["right/001.wav"])
    tokenize(data[1:], tmp_path / "fresh", codec, workers=0)
    assert held(out) == held(tmp_path / "fresh")


@pytest.mark.parametrize("moment", ["_rewrite", "_save_plan"])
def test_a_run_that_is_stopped_while_it_drops_loses_nothing_else(tmp_path, codec, monkeypatch, moment):
    data, out = make_recordings(tmp_path / "data", 6), tmp_path / "out"
    tokenize(data, out, codec, workers=0, files_per_shard=3)
    for path in (data[1], data[4]):
        path.unlink()
    left = [path for path in data if path.exists()]

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(shard_plan.ShardFolder, moment, stop)
    with pytest.raises(KeyboardInterrupt):
        tokenize(left, out, codec, workers=0, drop_missing=True)
    monkeypatch.undo()
    told = tokenize(left, out, codec, workers=0, drop_missing=True)
    assert (told["items"], told["failures"]) == (4, [])
    tokenize(left, tmp_path / "fresh", codec, workers=0)
    assert held(out) == held(tmp_path / "fresh")
