"""Worker processes on one machine: each loads the codec once and makes one shard after another; a dead one is replaced."""

import multiprocessing
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from ..codecs.errors import TonemeError
from ..kernels.allocator import keep_freed
from ..kernels.spawning import unheard
from .shard_plan import Done, ShardFolder
from .shard_work import Progress, Settings, Worker

ATTEMPTS = 3  # times that a shard is begun before its worker's death counts as its fault
STILLBORN = 3  # workers that may die while they load the codec, before that counts as its fault


@dataclass
class _Local:
    """One worker process, the parent's end of its pipe, and the shard it works on."""

    process: SpawnProcess
    pipe: Connection
    device: str
    shard: int | None = None


@dataclass
class _Queue:
    """Shards to be made, and how often each was begun."""

    waiting: list[int]
    begun: dict[int, int] = field(default_factory=dict)

    def next(self) -> int | None:
        if not self.waiting:
            return None
        number = self.waiting.pop(0)
        self.begun[number] = self.begun.get(number, 0) + 1
        return number

    def again(self, number: int) -> None:
        if self.begun[number] >= ATTEMPTS:
            raise TonemeError(
                f"a worker died {ATTEMPTS} times on shard {number}, probably for want of memory: use fewer --workers, or look "
                "for a file that is out of the ordinary in it"
            )
        self.waiting.insert(0, number)


def make_with_processes(
    folder: ShardFolder,
    codec: str,
    devices: list[str],
    threads: int,
    settings: Settings,
    progress: Progress,
    done: Callable[[Done], None] = lambda done: None,
) -> None:
    """Make all shards that are missing, one process for each entry of `devices`.

    Args:
        folder: with its plan.
        codec: name or folder, as `toneme.load` takes it.
        devices: of each worker; a device may be there several times.
        threads: of each worker's arithmetic.
        settings: of all workers.
        progress: takes recordings done and seconds of audio, as they come.
        done: takes what is known of each shard that was made.

    Raises:
        TonemeError: if a worker cannot work, or dies again and again on one shard.
    """
    queue, stillborn = _Queue(folder.missing()), 0
    workers = [_start(folder.folder, codec, device, threads, settings) for device in devices[: len(queue.waiting)]]
    try:
        while workers:
            for pipe in wait([worker.pipe for worker in workers]):
                worker = next(worker for worker in workers if worker.pipe is pipe)
                try:
                    kind, value = worker.pipe.recv()
                except (EOFError, OSError):
                    workers.remove(worker)
                    if worker.shard is None and worker.process.exitcode == 0:
                        continue
                    if worker.shard is not None:
                        queue.again(worker.shard)
                    elif (stillborn := stillborn + 1) > STILLBORN:
                        raise TonemeError("workers died while they loaded the codec: use fewer --workers") from None
                    workers.append(_start(folder.folder, codec, worker.device, threads, settings))
                    continue
                if kind == "progress":
                    progress(*value)
                elif kind == "failed":
                    raise value
                else:
                    if kind == "done":
                        done(value)
                    worker.shard = queue.next()
                    worker.pipe.send(worker.shard)
                    if worker.shard is None:
                        worker.process.join()
                        workers.remove(worker)
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.join()


def _start(folder: Path, codec: str, device: str, threads: int, settings: Settings) -> _Local:
    context = multiprocessing.get_context("spawn")  # a fork of a process that uses CUDA or threads of its own is broken
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, folder, codec, device, threads, settings), daemon=True)
    with unheard():
        process.start()
    theirs.close()
    return _Local(process, ours, device)


def _work(pipe: Connection, folder: Path, codec: str, device: str, threads: int, settings: Settings) -> None:
    """Make the shards that the parent names until it names none, or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it is heard: it is the parent's to heed, which ends its workers
    try:
        import torch

        from ..codecs.registry import load

        torch.set_num_threads(threads)
        keep_freed()
        worker = Worker(load(codec, device), ShardFolder.open(folder), settings)
        pipe.send(("ready", None))
        while (number := pipe.recv()) is not None:
            pipe.send(("done", worker.make(number, lambda files, seconds: pipe.send(("progress", (files, seconds))))))
    except (EOFError, BrokenPipeError):  # the parent is gone: what it wanted is nobody's business any more
        return
    except Exception as error:
        pipe.send(("failed", _plain(error)))


def _plain(error: Exception) -> Any:
    """Return an error that survives the way to another process."""
    return error if isinstance(error, TonemeError | OSError) else RuntimeError(f"{type(error).__name__}: {error}")
