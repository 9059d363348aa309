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


@pytest.mark.parametrize("rows", [1, 2, 101])
def test_every_row_is_covered_once(two_threads, rows):
    counts = torch.zeros(rows)

    def work_on(first, last, workers):
        assert workers <= 2
        counts[first:last] += 1

    share(work_on, rows, MIN_WORK)
    assert torch.equal(counts, torch.ones(rows))
    assert torch.get_num_threads() == 2


def test_small_work_stays_in_the_calling_thread(two_threads):
    seen = []
    share(lambda first, last, workers: seen.append((first, last, workers, threading.current_thread())), 50, MIN_WORK - 1)
    assert seen == [(0, 50, 1, threading.current_thread())]


def test_an_error_in_a_worker_reaches_the_caller(two_threads):
    def fail(first, last, workers):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        share(fail, 50, MIN_WORK)
