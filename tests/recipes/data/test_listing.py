"""Finding recordings: folders, manifests, shards, domains, and what is refused."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from toneme.cli.files import AUDIO
from toneme.codecs.audio import write_audio
from toneme.recipes.data.listing import expand, list_recordings, measure
from toneme.recipes.errors import DataError


@pytest.fixture
def folder(tmp_path, speech):
    write_audio(tmp_path / "b.wav", speech[:, :24000], 24000)
    write_audio(tmp_path / "a.flac", speech[:, :12000], 24000)
    (tmp_path / "notes.txt").write_text("not audio")
    return tmp_path


def shard(folder, name: str = "s-000.tar"):
    path = folder / name
    with tarfile.open(path, "w") as tar:
        for file in ("a.flac", "b.wav", "notes.txt"):
            data = (folder / file).read_bytes()
            about = tarfile.TarInfo(f"{file[0]}{file[1:]}")
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
    return path


def test_a_folder_gives_its_audio_in_order(folder):
    found = list_recordings(str(folder))
    assert [part.path.rsplit("/", 1)[1] for part in found] == ["a.flac", "b.wav"]
    assert [part.seconds for part in measure(found)[0]] == [0.5, 1.0]


def test_folders_may_be_links_and_hidden_files_are_none(folder, tmp_path_factory):
    links = tmp_path_factory.mktemp("links")
    (links / "speech").symlink_to(folder)
    (links / "._a.flac").touch()  # what macOS leaves beside files
    assert [part.path for part in list_recordings(str(links))] == [str(links / "speech" / name) for name in ("a.flac", "b.wav")]


def test_a_manifest_gives_its_rows_of_the_split(folder):
    (folder / "m.csv").write_text("path,domain,split,seconds,text\na.flac,speech,train,0.5,hello\nb.wav,music,eval,1,\n")
    (found,) = list_recordings(str(folder / "m.csv"))
    assert (found.domain, found.seconds, found.text) == ("speech", 0.5, "hello")
    rows = [{"audio_filepath": "b.wav", "duration": 1.0}, {"path": "a.flac"}]
    (folder / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert [part.seconds for part in list_recordings(str(folder / "m.jsonl"))] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.csv", "path,seconds\r\na.flac,0.5\r\n"),
        ("m.CSV", "path,seconds\na.flac,0.5\n"),
        ("m.jsonl", '{"path": "a.flac", "seconds": 0.5}\r\n'),
    ],
)
def test_a_manifest_may_begin_with_a_mark_of_its_byte_order_and_end_lines_as_windows_does(folder, name, text):
    (folder / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
    (found,) = list_recordings(str(folder / name))
    assert (found.path, found.seconds) == (str(folder / "a.flac"), 0.5)


@pytest.mark.parametrize("given", ["3:20", "-1", "nan"])
def test_seconds_that_are_no_length_are_refused_in_a_sentence(folder, given):
    (folder / "m.csv").write_text(f"path,seconds\na.flac,{given}\n")
    with pytest.raises(DataError, match=f"must give seconds .or duration. as a number from 0 up; got '{given}'"):
        list_recordings(str(folder / "m.csv"))


def test_rows_that_are_no_objects_are_refused_in_a_sentence(folder):
    (folder / "m.jsonl").write_text('"a.flac"\n')
    with pytest.raises(DataError, match=r"m\.jsonl is not a manifest .*'a.flac' is no object"):
        list_recordings(str(folder / "m.jsonl"))


def test_folders_are_searched_for_the_audio_that_commands_search_them_for(folder):
    for suffix in AUDIO:
        (folder / "all" / f"a{suffix}").parent.mkdir(exist_ok=True)
        (folder / "all" / f"a{suffix}").touch()
    assert {Path(part.path).suffix for part in list_recordings(str(folder / "all"))} == AUDIO


def test_times_of_words_are_numbers_and_two_a_word(folder):
    (folder / "m.csv").write_text("path,text,times\na.flac,oh no,0 0.1 0.2 0.4\nb.wav,oh,\n")
    assert [part.times for part in list_recordings(str(folder / "m.csv"))] == [(0.0, 0.1, 0.2, 0.4), ()]
    (folder / "m.jsonl").write_text(json.dumps({"path": "a.flac", "text": "oh", "times": [1, 2]}))
    assert list_recordings(str(folder / "m.jsonl"))[0].times == (1.0, 2.0)
    for wrong in ("0 0.1", "0 0.1 0.2 soon"):
        (folder / "m.csv").write_text(f"path,text,times\na.flac,oh no,{wrong}\n")
        with pytest.raises(DataError, match="must have two times, in seconds, for every word of 'oh no'"):
            list_recordings(str(folder / "m.csv"))


def test_a_members_stretch_of_a_shard_equals_the_files(folder):
    found = list_recordings(str(shard(folder)))
    assert [part.member for part in found] == ["a.flac", "b.wav"]
    files = list_recordings([str(folder / "a.flac"), str(folder / "b.wav")])
    for ours, theirs in zip(found, files, strict=True):
        np.testing.assert_array_equal(ours.read(0.1, 0.2, 24000, 1), theirs.read(0.1, 0.2, 24000, 1))


def test_a_table_names_domains(folder):
    found = list_recordings({"speech": str(folder / "a.flac"), "music": [str(folder / "b.wav")]})
    assert [part.domain for part in found] == ["speech", "music"]


def test_shards_are_counted_and_looked_up(folder):
    assert expand("x-{008..010}.tar") == ["x-008.tar", "x-009.tar", "x-010.tar"]
    shard(folder)
    shard(folder, "s-001.tar")
    assert len(list_recordings(str(folder / "s-*.tar"))) == len(list_recordings(str(folder / "s-{000..001}.tar"))) == 4


@pytest.mark.parametrize("train", ["", "/nowhere", None])
def test_what_is_not_there_is_said(train):
    with pytest.raises(DataError, match=r"give data\.train=FOLDER"):
        list_recordings(train)


def test_an_empty_folder_and_a_compressed_shard_are_refused(tmp_path):
    with pytest.raises(DataError, match="no training audio in"):
        list_recordings(str(tmp_path))
    (tmp_path / "x.tar").write_bytes(b"\x1f\x8b not a tar")
    with pytest.raises(DataError, match="is not an uncompressed tar shard"):
        list_recordings(str(tmp_path / "x.tar"))


def test_headers_that_cannot_be_read_are_named(folder):
    (folder / "bad.wav").write_text("not audio")
    kept, failures = measure(list_recordings(str(folder)))
    assert len(kept) == 2
    assert [name.rsplit("/", 1)[1] for name in failures] == ["bad.wav"]
