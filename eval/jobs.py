"""Work in pieces whose results are kept: cached by keys, spread over processes and devices, resumed where they stopped."""

import contextlib
import json
import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from ..codecs.errors import TonemeError
from ..kernels.spawning import unheard

Results = dict[str, Any]
GRACE = 5.0  # seconds that a job has to clear up when it is ended


class Job(ABC):
    """A piece of work that can be sent to another process.

    Attributes:
        keys: of the results that it gives: each names everything that has an influence on its result.
        alone: run it in a fresh process while nothing else runs, as measurements of speed and memory need.
    """

    keys: tuple[str, ...]
    alone: bool = False

    @abstractmethod
    def run(self, wanted: frozenset[str], device: str) -> Results:
        """Return the results of the wanted keys, plain JSON types; a result {"error": ...} is not kept for another run.

        What it raises becomes such a result of every wanted key: the other jobs go on.
        """


class Cache:
    """Results by key, in an SQLite file; every write is kept at once."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with self._errors():
            self._database = sqlite3.connect(path)
            self._database.execute("CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, value TEXT NOT NULL)")

    def get(self, keys: Iterable[str]) -> Results:
        """Return what is known of these keys."""
        wanted, found = list(keys), {}
        for i in range(0, len(wanted), 500):
            part = wanted[i : i + 500]
            marks = ",".join("?" * len(part))
            with self._errors():
                rows = self._database.execute(f"SELECT key, value FROM results WHERE key IN ({marks})", part).fetchall()
            found |= {key: json.loads(value) for key, value in rows}
        return found

    def put(self, results: Results) -> None:
        """Keep results; those that are errors are left out, so that the next run tries again."""
        rows = [
            (key, json.dumps(value)) for key, value in results.items() if not (isinstance(value, dict) and "error" in value)
        ]
        with self._errors(), self._database:
            self._database.executemany("INSERT OR REPLACE INTO results VALUES (?, ?)", rows)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Say in a sentence what SQLite cannot do: the disk or a second run is in the way, or the file is none of ours."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise TonemeError(
                f"{self._path} cannot be read or written ({error}): free space, end a run that uses the same folder, or name "
                "another with -o"
            ) from None
        except sqlite3.DatabaseError as error:
            raise TonemeError(
                f"{self._path} is no cache of results ({error}): remove it, or name another folder with -o"
            ) from None

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def run_jobs(
    jobs: Sequence[Job],
    cache: Cache,
    workers: int = 1,
    devices: Sequence[str] = ("cpu",),
    advance: Callable[[float], None] = lambda done: None,
) -> Results:
    """Return the results of all jobs, from the cache where they are known.

    Args:
        jobs: those of one codec should stand together, since a worker keeps the last codec.
        cache: every result is put there as soon as it is there.
        workers: processes; with one, jobs run in this process, save those that must run alone.
        devices: that workers take in turn.
        advance: is called with 1 for each job that is done or was known.

    Raises:
        TonemeError: if a worker dies.
    """
    results = cache.get(dict.fromkeys(key for job in jobs for key in job.keys))
    missing = [(job, frozenset(job.keys) - results.keys()) for job in jobs]
    todo = [(job, wanted) for job, wanted in missing if wanted]
    advance(len(jobs) - len(todo))
    alone, others = [item for item in todo if item[0].alone], [item for item in todo if not item[0].alone]
    for done in _run_all(alone, others, workers, devices):
        cache.put(done)
        results |= done
        advance(1)
    return results


def _run_all(alone: list, others: list, workers: int, devices: Sequence[str]) -> Iterator[Results]:
    for job, wanted in alone:
        with _pool(1, devices[:1]) as pool:
            yield _submit(pool, job, wanted).result()
    if workers == 1 or len(others) < 2:
        for job, wanted in others:
            yield run_job(job, wanted, devices[0])
        return
    with _pool(min(workers, len(others)), devices) as pool:
        yield from _as_they_come(pool, others, 4 * workers)


def _as_they_come(pool: ProcessPoolExecutor, items: list, ahead: int) -> Iterator[Results]:
    """Submit a few jobs ahead, in order, so that an interrupt leaves little undone and no worker waits."""
    waiting: set[Future[Results]] = set()
    for job, wanted in items:
        waiting.add(_submit(pool, job, wanted))
        if len(waiting) >= ahead:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    while waiting:
        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        yield from (future.result() for future in done)


def _submit(pool: ProcessPoolExecutor, job: Job, wanted: frozenset[str]) -> Future[Results]:
    with unheard():  # this starts a worker while there are too few
        return pool.submit(_run, job, wanted)


@contextmanager
def _pool(workers: int, devices: Sequence[str]) -> Iterator[ProcessPoolExecutor]:
    """Give worker processes, which end at once, whatever they are at, where the block is left by an exception."""
    context = multiprocessing.get_context("spawn")
    with unheard():
        queue = context.Queue()
    for i in range(workers):
        queue.put(devices[i % len(devices)])
    theirs, ours = context.Pipe(duplex=False)  # its end is the workers'
    pool = ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(queue, theirs))
    try:
        yield pool
    except BrokenProcessPool:
        raise TonemeError(
            "a worker process was ended from outside, most often for want of memory: run the same again, which goes on where "
            "it was, with fewer --workers"
        ) from None
    except BaseException:
        ours.close()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        ours.close()
        theirs.close()


_device = "cpu"  # of this worker


def _start_worker(devices: Any, end: Connection) -> None:
    global _device
    _device = devices.get()
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, args=(end,), daemon=True).start()
    with contextlib.suppress(ValueError):  # where it is not the main thread's business
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's to answer
        signal.signal(signal.SIGTERM, _unwind)


def _unwind(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the pool ends all workers too when one has ended, and would cut this short
    raise SystemExit(128 + number)


def _run(job: Job, wanted: frozenset[str]) -> Results:
    try:
        return run_job(job, wanted, _device)
    except SystemExit as end:  # the job has cleared up; the pool would take this for its result, and give the next
        os._exit(int(end.code or 0))


def run_job(job: Job, wanted: frozenset[str], device: str) -> Results:
    """Return the results of a job, or why there are none."""
    try:
        return job.run(wanted, device)
    except Exception as error:  # a codec met audio that its authors did not; it is listed, and hours of others' work go on
        return {key: {"error": reason_of(error)} for key in wanted}


def reason_of(error: Exception) -> str:
    """Return how reports tell of an error: by its own sentence, or as one that was not expected."""
    return str(error) if isinstance(error, TonemeError) else f"unexpected {type(error).__name__} ({str(error)[:200]})"


def _end_with_parent(end: Connection) -> None:
    """Wait until the parent ends or hangs up, and follow: a worker would finish its job first, or wait for one for ever."""
    parent = multiprocessing.parent_process()
    wait_for([end, *([parent.sentinel] if parent else [])])
    os.kill(os.getpid(), signal.SIGTERM)  # a job clears up, such as what a command of it has begun
    time.sleep(GRACE)
    os._exit(1)
