"""What an evaluation writes beside its report."""

import errno
import os

import pytest

from toneme.eval.evaluation import write_table


def test_a_full_disk_leaves_the_table_of_before(tmp_path, monkeypatch):
    table = tmp_path / "table.md"
    write_table(table, "before ä\udcff")
    assert table.read_text(encoding="utf-8") == "before ä\\udcff"

    def full(path, data):
        with open(path, "wb"):  # which empties it
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(type(table), "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        write_table(table, "after")
    assert os.listdir(tmp_path) == ["table.md"]
    assert table.read_text(encoding="utf-8") == "before ä\\udcff"


def test_a_device_stays_one(tmp_path):
    write_table(type(tmp_path)(os.devnull), "text")
    assert not os.path.isfile(os.devnull)
