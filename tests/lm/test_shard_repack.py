"""Shards cut anew: the same tokens in other shards, whole or not at all, and `tokenize` goes on with them."""

import os
import signal
import subprocess
import sys
import time
from itertools import pairwise

import pytest
import soundfile

from toneme.codecs.errors import TokenFileError, TonemeError
from toneme.lm import shard_repack
from toneme.lm.shard_formats import SUFFIXES, read_shard, write_shard
from toneme.lm.shard_plan import ShardFolder, locked
from toneme.lm.shard_repack import repack
from toneme.lm.shards import read_shards
from toneme.lm.tokenizing import tokenize

from .made import contents, make_codec, make_recordings
from .test_shards import ABOUT, assert_same, make_items


@pytest.fixture(scope="module")
def codec(tmp_path_factory):
    return str(make_codec(tmp_path_factory.mktemp("codec") / "tiny"))


@pytest.fixture
def shards(tmp_path, codec):
    """Seven recordings, one of which is no audio, and a variant of each, in shards of five."""
    data = make_recordings(tmp_path / "data", 6)
    bad = tmp_path / "data" / "left" / "bad.wav"
    bad.write_bytes(b"no audio")
    done = tokenize([*data[:2], bad, *data[2:]], tmp_path / "old", codec, 2, workers=0, files_per_shard=5, variants=2)
    assert (done["items"], done["shards"]) == (12, 3)
    return tmp_path / "old"


def items_of(folder):
    """Return all items of a folder of shards, in order."""
    there = ShardFolder.open(folder)
    assert not there.missing()
    return [item for number in range(len(there.shards)) for item in read_shard(there.path(number))[1]]


@pytest.mark.parametrize("kind", SUFFIXES)
@pytest.mark.parametrize("size", [1, 3, 100, None])
def test_tokens_are_those_of_before_in_their_order(tmp_path, shards, kind, size):
    before = contents(shards)
    done = repack(shards, tmp_path / "new", size, kind)
    new = ShardFolder.open(tmp_path / "new")
    assert {key: done[key] for key in ("items", "shards", "dropped")} == {
        "items": 12, "shards": {1: 14, 3: 5, 100: 1, None: 14}[size], "dropped": [],
    }  # fmt: skip
    assert [failure["path"] for failure in done["failures"]] == ["left/bad.wav"]
    assert max(map(len, new.shards)) == {3: 3, 100: 14}.get(size, 1)
    assert_same(items_of(tmp_path / "new"), items_of(shards))
    assert read_shards(tmp_path / "new").failures == read_shards(shards).failures
    assert contents(shards) == before


@pytest.mark.parametrize("name", ["rates", "side"])
@pytest.mark.parametrize(("kind", "other"), list(pairwise([*SUFFIXES, "parquet"])))
def test_streams_of_several_rates_and_side_numbers_go_into_any_format(tmp_path, name, kind, other):
    items = make_items(ABOUT[name], 6)
    folder = ShardFolder.plan(tmp_path / "old", ABOUT[name], SUFFIXES[kind], [item.path for item in items], 6)
    write_shard(folder.path(0), ABOUT[name], items)
    folder.finish(shard_repack.Done(0, 6, 1.0, folder.path(0).stat().st_size, []))
    repack(tmp_path / "old", tmp_path / "new", 2, other)
    assert_same(items_of(tmp_path / "new"), items)


def test_the_same_cut_gives_the_same_bytes_and_there_and_back_too(tmp_path, shards):
    repack(shards, tmp_path / "same", 5)
    repack(shards, tmp_path / "npz", 3, "npz")
    repack(tmp_path / "npz", tmp_path / "back", 5, "parquet")
    assert contents(tmp_path / "same") == contents(shards)
    assert contents(tmp_path / "back") == contents(shards)


def test_tokenize_goes_on_with_what_was_cut_anew(tmp_path, codec, shards):
    repack(shards, tmp_path / "new", 4)
    data = sorted((tmp_path / "data").rglob("*.wav"))
    told = tokenize(data, tmp_path / "new", codec, 2, workers=0, variants=2)
    assert (told["files"], told["items"], told["renewed"]) == (0, 12, [])
    wave, rate = soundfile.read(data[-1])
    soundfile.write(data[-1], wave[::-1], rate)
    assert len(tokenize(data, tmp_path / "new", codec, 2, workers=0, variants=2)["renewed"]) == 1


def test_what_changed_before_shards_were_cut_anew_is_noticed_after(tmp_path, codec, shards):
    path = tmp_path / "data" / "right" / "001.wav"
    wave, rate = soundfile.read(path)
    soundfile.write(path, wave[::-1], rate)
    bad = tmp_path / "data" / "left" / "bad.wav"
    soundfile.write(bad, wave, rate)
    repack(shards, tmp_path / "new", 4)
    told = tokenize(sorted((tmp_path / "data").rglob("*.wav")), tmp_path / "new", codec, 2, workers=0, variants=2)
    assert (told["renewed"], told["items"], told["failures"]) == (["right/001.wav"], 14, [])


def test_recordings_that_are_gone_are_left_out_where_that_is_asked_for(tmp_path, shards):
    for name in ("right/003.wav", "left/bad.wav"):
        (tmp_path / "data" / name).unlink()
    assert repack(shards, tmp_path / "all", 4)["items"] == 12
    done = repack(shards, tmp_path / "new", 4, drop_missing=True)
    assert (done["items"], done["dropped"], done["failures"]) == (10, ["left/bad.wav", "right/003.wav"], [])
    left = [item for item in items_of(shards) if item.path != "right/003.wav"]
    assert_same(items_of(tmp_path / "new"), left)
    (tmp_path / "data").rename(tmp_path / "moved")
    with pytest.raises(TonemeError, match="which is not there: name it with --root"):
        repack(shards, tmp_path / "other", drop_missing=True)
    assert repack(shards, tmp_path / "other", 4, drop_missing=True, root=tmp_path / "moved")["items"] == 10
    assert ShardFolder.open(tmp_path / "other").root == str(tmp_path / "moved")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TonemeError, match=r"none of the recordings of .*old is in .*empty"):
        repack(shards, tmp_path / "none", drop_missing=True, root=tmp_path / "empty")
    assert not list(tmp_path.glob("none/shard*"))


def test_what_is_there_is_kept_and_what_is_older_is_made_anew(tmp_path, codec, shards, monkeypatch):
    repack(shards, tmp_path / "new", 4)
    before, written = contents(tmp_path / "new"), []
    monkeypatch.setattr(shard_repack, "write_shard", lambda path, *rest: written.append(rest[-1]) or write_shard(path, *rest))
    repack(shards, tmp_path / "new", 4)
    assert written == []
    (tmp_path / "new" / "shard-000001.parquet").unlink()
    repack(shards, tmp_path / "new", 4)
    assert written == [1]
    later = (shards / "shard-000000.json").stat().st_mtime + 60
    os.utime(shards / "shard-000000.json", (later, later))
    repack(shards, tmp_path / "new", 4)
    assert written[1:] == [0, 1]
    assert contents(tmp_path / "new") == before


def test_refusals_are_sentences_and_write_nothing(tmp_path, codec, shards):
    repack(shards, tmp_path / "new", 4)
    before = contents(tmp_path / "new")
    for wrong in ({"files_per_shard": 3}, {"files_per_shard": 4, "format": "npz"}):
        with pytest.raises(TonemeError, match="new holds other shards, or others were made of them since: name another folder"):
            repack(shards, tmp_path / "new", **wrong)
    with pytest.raises(TonemeError, match="old holds the shards themselves: name another folder"):
        repack(shards, shards, 4)
    with pytest.raises(TonemeError, match="at least one recording; got 0"):
        repack(shards, tmp_path / "x", 0)
    with pytest.raises(TonemeError, match="parquet, webdataset, npz; got 'csv'"):
        repack(shards, tmp_path / "x", format="csv")
    with pytest.raises(TokenFileError, match="no folder of shards"):
        repack(tmp_path / "data", tmp_path / "x")
    with locked(shards), pytest.raises(TonemeError, match="another run writes to"):
        repack(shards, tmp_path / "x")
    repack(shards, tmp_path / "tar", 5, "webdataset")
    about, items = read_shard(tmp_path / "tar" / "shard-000000.tar")
    write_shard(tmp_path / "tar" / "shard-000000.tar", about, items[::-1])
    with pytest.raises(TokenFileError, match="holds other recordings or tokens than the folder says"):
        repack(tmp_path / "tar", tmp_path / "x")
    (shards / "shard-000001.json").unlink()
    with pytest.raises(TokenFileError, match="lacks 1 of 3 shards: run `codec tokenize` on it first"):
        repack(shards, tmp_path / "y")
    assert contents(tmp_path / "new") == before
    assert not (tmp_path / "y" / "shards.json").exists()


SLOWLY = """
import sys, time
from toneme.lm import shard_repack
from toneme.lm.shard_formats import write_shard

def slow(*given):
    write_shard(*given)
    time.sleep(0.3)

shard_repack.write_shard = slow
shard_repack.repack(sys.argv[1], sys.argv[2], 2)
"""


def test_a_run_that_was_killed_goes_on(tmp_path, shards):
    """Killed while a shard is half there, as by a machine that is taken away."""
    process = subprocess.Popen([sys.executable, "-c", SLOWLY, str(shards), str(tmp_path / "new")])
    end = time.monotonic() + 60
    while not (tmp_path / "new" / "shard-000001.json").exists() and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with pytest.raises(TokenFileError, match=r"lacks \d of 7 shards"):
        read_shards(tmp_path / "new")
    repack(shards, tmp_path / "new", 2)
    repack(shards, tmp_path / "whole", 2)
    assert contents(tmp_path / "new") == contents(tmp_path / "whole")
    assert_same(items_of(tmp_path / "new"), items_of(shards))
