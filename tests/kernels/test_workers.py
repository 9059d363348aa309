"""Sharing rows between threads: every row once, and the caller's number of threads unchanged."""

import threading

import pytest
import torch

from toneme.kernels.workers import MIN_WORK, share


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("rows", "size"), [(1, 1), (2, 1), (101, 7), (5, 9)])
def test_every_row_is_covered_once(two_threads, rows, size):
    counts, seen = torch.zeros(rows), []

    def work_on(parts):
        for part in parts:
            counts[part] += 1

    def size_of(workers):
        seen.append(workers)
        return size

    share(work_on, rows, size_of, MIN_WORK)
    assert torch.equal(counts, torch.ones(rows))
    assert seen == [min(2, rows)]
    assert torch.get_num_threads() == 2


def test_small_work_stays_in_the_calling_thread(two_threads):
    seen = []
    share(lambda parts: seen.append((list(parts), threading.current_thread())), 50, lambda workers: 30, MIN_WORK - 1)
    assert seen == [([slice(0, 30), slice(30, 50)], threading.current_thread())]


def test_an_error_in_a_worker_reaches_the_caller(two_threads):
    def fail(parts):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        share(fail, 50, lambda workers: 25, MIN_WORK)


def test_what_a_worker_shares_stays_in_its_thread(two_threads, monkeypatch):
    """Two workers that waited for each other's thread would wait for ever; here they believe that they may use two."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    inner = []

    def work_on(parts):
        for _ in parts:
            share(lambda parts: inner.append((len(list(parts)), threading.current_thread())), 4, lambda workers: 1, MIN_WORK)

    share(work_on, 2, lambda workers: 1, MIN_WORK)
    assert [count for count, _ in inner] == [4, 4]
    assert threading.main_thread() not in {thread for _, thread in inner}
