"""Stamps: other bytes under an old name are seen, whatever their time, and copies of the same bytes are not."""

import os
import tarfile

import pytest

from toneme.recipes.data.recording import Recording
from toneme.recipes.data.stamp import changed_since, renewed, stamp


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"0123456789")
    os.utime(path, ns=(10**18, 10**18))
    return path


def test_the_same_bytes_at_another_time_are_known_by_that(file):
    kept = stamp(Recording(str(file)))
    assert renewed(Recording(str(file)), kept) == kept
    os.utime(file, ns=(0, 5 * 10**17))
    assert renewed(Recording(str(file)), kept) == (10, 5 * 10**17, kept[2])


@pytest.mark.parametrize("content", [b"0123456780", b"012345678"])
def test_other_bytes_are_seen_though_their_time_is_of_long_ago(file, content):
    kept = stamp(Recording(str(file)))
    file.write_bytes(content)
    os.utime(file, ns=(0, 5 * 10**17))
    assert renewed(Recording(str(file)), kept) is None


def test_a_file_that_is_not_there_has_not_changed(file):
    kept = stamp(Recording(str(file)))
    file.unlink()
    assert stamp(Recording(str(file))) == (0, 0, 0)
    assert renewed(Recording(str(file)), kept) == kept
    assert not changed_since(Recording(str(file)), 0)


def test_of_a_shard_only_the_member_counts(tmp_path):
    def shard(*sizes: int) -> list[Recording]:
        with tarfile.open(tmp_path / "s.tar", "w") as out:
            for number, size in enumerate(sizes):
                (tmp_path / "one.wav").write_bytes(bytes([number]) * size)
                out.add(tmp_path / "one.wav", f"{number}.wav")
        with tarfile.open(tmp_path / "s.tar") as found:
            return [Recording(str(tmp_path / "s.tar"), "", 0.0, "", (), m.name, m.offset_data, m.size) for m in found]

    kept = [stamp(part) for part in shard(100, 200, 300)]
    os.utime(tmp_path / "s.tar", ns=(0, 0))
    assert [size for size, _, _ in kept] == [100, 200, 300]
    assert [renewed(part, known) is None for part, known in zip(shard(100, 900, 300), kept, strict=True)] == [
        False,
        True,
        False,
    ]


def test_without_a_stamp_the_time_alone_counts(file):
    assert [changed_since(Recording(str(file)), 10**18 + late) for late in (-1, 0)] == [True, False]
