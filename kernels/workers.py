"""Rows shared between threads: many short calls on small chunks do not gain from threads inside each call."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Lock, local

import torch

MAX_WORKERS = 8  # beyond it the interpreter's lock is the limit; each worker then uses several threads inside its calls
MIN_WORK = 100_000_000  # floating-point operations below which handing over costs more than it saves

_pools: dict[tuple[int, int, int], ThreadPoolExecutor] = {}
_lock = Lock()
_thread = local()  # a worker must not wait for others of its pool, which may wait for it


def share(work_on: Callable[[Iterator[slice]], None], rows: int, size: Callable[[int], int], work: int) -> None:
    """Cut `rows` into parts, and call `work_on(parts)` in as many threads as PyTorch may use; each takes the next free part.

    Within one of these threads, what it shares is its own.

    Args:
        work_on: touches only the rows of its parts.
        rows: number of rows, at least one.
        size: rows of a part, of the number of threads.
        work: floating-point operations in all.
    """
    threads = torch.get_num_threads()
    worth = work >= MIN_WORK and not getattr(_thread, "works", False) and "OpenMP" in torch.__config__.parallel_info()
    workers = min(threads, MAX_WORKERS, rows) if worth else 1
    starts, lock = iter(range(0, rows, step := size(workers))), Lock()

    def parts() -> Iterator[slice]:
        while True:
            with lock:
                start = next(starts, None)
            if start is None:
                return
            yield slice(start, min(rows, start + step))

    if workers < 2:
        work_on(parts())
        return

    def run(_: int) -> None:
        with torch.inference_mode():
            work_on(parts())

    list(_pool(workers, threads).map(run, range(workers)))


def _pool(workers: int, threads: int) -> ThreadPoolExecutor:
    key = (os.getpid(), workers, threads)  # a forked process does not inherit threads
    with _lock:
        if key not in _pools:
            pool, ready = ThreadPoolExecutor(workers, thread_name_prefix="toneme"), Barrier(workers)
            list(pool.map(lambda _: _limit_threads(threads // workers, ready), range(workers)))
            torch.set_num_threads(threads)  # the workers' calls also changed the number that new threads start with
            _pools[key] = pool
    return _pools[key]


def _limit_threads(number: int, ready: Barrier) -> None:
    torch.get_num_threads()  # a thread's first operation sets its number anew, unless it has asked for it before
    torch.set_num_threads(number)
    _thread.works = True
    ready.wait()  # so that each worker takes exactly one of these calls
