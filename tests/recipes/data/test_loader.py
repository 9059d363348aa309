"""Batches: the same with any number of workers, resumed anywhere, and never hung by a worker that dies."""

import errno
import os
import signal
import time

import pytest
import torch

from toneme.codecs.audio import write_audio
from toneme.recipes.data import loader
from toneme.recipes.data.items import Items, make_items
from toneme.recipes.data.loader import Batches, Order
from toneme.recipes.errors import DataError
from toneme.recipes.recipe import DataSettings


@pytest.fixture
def items(tmp_path, speech) -> Items:
    write_audio(tmp_path / "one.wav", speech, 24000)
    return make_items(DataSettings(train=str(tmp_path)), 24000, 1, 0.1, 0)


def waves(batches: Batches, count: int) -> list[torch.Tensor]:
    found = [batches.next().waveform for _ in range(count)]
    batches.close()
    return found


def test_batches_are_the_same_with_workers_and_from_the_middle(items):
    alone = waves(Batches(items, 3), 5)
    for other in (waves(Batches(items, 3, workers=2), 5), waves(Batches(items, 3), 5)):
        assert all(map(torch.equal, alone, other))
    assert all(map(torch.equal, alone[2:], waves(Batches(items, 3, position=2), 3)))


def test_batches_come_through_pipes_where_shared_memory_is_short(items, monkeypatch):
    alone, ways = waves(Batches(items, 3), 3), []
    for kept in (0, 1 << 60):  # batches that must have room
        monkeypatch.setattr(loader, "KEPT", kept)
        batches = Batches(items, 3, workers=1)
        ways.append({item.waveform.is_shared() for item in batches._fetch()})
        batches.close()
        assert all(map(torch.equal, alone, waves(Batches(items, 3, workers=1), 3)))
    assert ways == [{True}, {False}]


def test_room_is_that_of_the_file_system(monkeypatch, tmp_path):
    monkeypatch.setattr(loader, "SHARED_MEMORY", str(tmp_path))
    told = os.statvfs(tmp_path)
    assert 0 < loader.shared_room() <= told.f_blocks * told.f_frsize
    monkeypatch.setattr(loader, "SHARED_MEMORY", str(tmp_path / "none"))
    assert loader.shared_room() == float("inf")


def test_workers_that_cannot_be_started_are_one_sentence(items, monkeypatch):
    def full(*args, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(loader.DataLoader, "__iter__", full)
    with pytest.raises(DataError, match=r"cannot be started \(No space left on device\): make room in /dev/shm"):
        Batches(items, 2, workers=1).next()


def test_ranks_share_one_order(items):
    whole = waves(Batches(items, 4), 2)
    ranks = [waves(Batches(items, 2, rank=rank, world=2), 2) for rank in (0, 1)]
    assert all(torch.equal(whole[n], torch.cat([ranks[0][n], ranks[1][n]])) for n in (0, 1))
    assert next(iter(Order(3, 2, 1, 2))) == [14, 15]


def test_a_killed_worker_is_replaced_and_no_batch_is_lost(items):
    expected = waves(Batches(items, 2), 12)
    said: list[str] = []
    batches = Batches(items, 2, workers=1, timeout=60, say=said.append)
    found = [batches.next().waveform]
    for process in batches._stream._workers:  # type: ignore[union-attr]
        os.kill(process.pid, signal.SIGKILL)
    time.sleep(0.5)  # a step, which must not be where the death is said
    found += [batches.next().waveform for _ in range(11)]
    batches.close()
    assert batches.restarts >= 1
    assert "started anew" in said[0]
    assert all(map(torch.equal, expected, found))


class Hung(Items):
    """Items that never come."""

    def __getitem__(self, index: int):
        time.sleep(3600)


@pytest.mark.slow
def test_workers_that_hang_end_in_an_error(items, monkeypatch):
    hung = Hung(items.recordings, items.chances, items.settings, 24000, 1, 0.1, 0)
    batches = Batches(hung, 1, workers=1, timeout=1, say=lambda line: None)
    with pytest.raises(DataError, match=r"died or hung 4 times in a row: try data\.workers=0"):
        batches.next()


def test_recordings_that_cannot_be_read_are_said_once(items, tmp_path):
    said: list[str] = []
    broken = Items(items.recordings, items.chances, items.settings, 24000, 1, 0.1, 0)
    (tmp_path / "one.wav").write_text("gone")
    with pytest.raises(DataError, match=r"recording after recording cannot be read, .*one\.wav"):
        Batches(broken, 2, say=said.append).next()
    assert len(said) == 1
