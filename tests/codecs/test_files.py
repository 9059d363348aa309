"""Files that appear whole or not at all, whatever they are called."""

from pathlib import Path

import pytest

from toneme.codecs.files import atomic_path


@pytest.mark.parametrize("name", ["a.tok", "名" * 83 + ".flac", "x" * 251 + ".tok", "1. " + "y" * 250])
def test_a_file_appears_under_every_name_that_there_can_be(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with atomic_path(path) as partial:
        partial.write_bytes(b"new")
        assert partial.parent == tmp_path
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


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
