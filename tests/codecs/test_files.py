"""Files that appear whole or not at all, whatever they are called."""

import os
from pathlib import Path

import pytest

from toneme.codecs.files import atomic_path, files_below


@pytest.mark.parametrize("name", ["a.tok", "名" * 83 + ".flac", "x" * 251 + ".tok", "1. " + "y" * 250])
def test_a_file_appears_under_every_name_that_there_can_be(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with atomic_path(path) as partial:
        partial.write_bytes(b"new")
        assert partial.parent == tmp_path
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_has_the_permissions_of_any_other_and_the_mask_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.umask(0o027)
    try:
        with monkeypatch.context() as patch, atomic_path(tmp_path / "a.tok") as partial:
            patch.delattr(os, "umask")  # that of the process, which its other threads would meet
            partial.write_bytes(b"new")
    finally:
        os.umask(before)
    assert (tmp_path / "a.tok").stat().st_mode & 0o777 == 0o640


def test_folders_that_are_links_are_looked_into_and_those_that_lead_back_are_not(tmp_path: Path) -> None:
    for name in ("data/a.wav", "data/notes.txt", "data/.hidden/b.wav", "data/.c.wav", "disk/music/d.WAV", "disk/more/e.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "data" / "music").symlink_to(tmp_path / "disk" / "music")
    (tmp_path / "data" / "self").symlink_to(tmp_path / "data")
    (tmp_path / "disk" / "music" / "more").symlink_to(tmp_path / "disk" / "more")
    (tmp_path / "disk" / "more" / "back").symlink_to(tmp_path / "disk" / "music")
    found = sorted(path.relative_to(tmp_path / "data").as_posix() for path in files_below(tmp_path / "data", {".wav"}))
    assert found == ["a.wav", "music/d.WAV", "music/more/e.wav"]


def test_what_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.tok"
    path.write_bytes(b"old")

    def interrupted() -> None:
        with atomic_path(path) as partial:
            partial.write_bytes(b"ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
