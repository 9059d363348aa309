"""Batches in order, made by worker processes that are started anew where one dies or hangs."""

import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ..errors import DataError
from .items import Item, Items
from .listing import Failures

MOST_RESTARTS = 3  # without a batch in between
SHARED_MEMORY = "/dev/shm"  # where Linux has it; containers have 64 MB unless they ask for more
KEPT = 4  # batches of a worker that must have room there: PyTorch asks for two ahead, and one may be taken while one is made


@dataclass(frozen=True)
class Batch:
    """Items of one step: float32 [batch, channels, samples], and where each was cut from."""

    waveform: Tensor
    recordings: list[int]
    starts: list[float]


class Order:
    """Numbers of the items of each batch, from batch `start` on; the batches of all ranks together are in order."""

    def __init__(self, start: int, batch: int, rank: int, world: int) -> None:
        self.start, self.batch, self.rank, self.world = start, batch, rank, world

    def __iter__(self) -> Iterator[list[int]]:
        position = self.start
        while True:
            first = (position * self.world + self.rank) * self.batch
            yield list(range(first, first + self.batch))
            position += 1


@dataclass(frozen=True)
class Sending:
    """How a worker sends a batch: in shared memory where there is room for `batches` like it, else through its pipe.

    A worker that finds no room sends nothing, and is waited for in vain.
    """

    batches: int

    def __call__(self, items: list[Item]) -> list[Item] | bytes:
        """Return the items, or their bytes."""
        size = sum(item.waveform.untyped_storage().nbytes() for item in items if item.waveform is not None)
        return pickle.dumps(items) if self.batches * size > shared_room() else items


def received(sent: list[Item] | bytes) -> list[Item]:
    """Return the items of a batch that came either way."""
    return pickle.loads(sent) if isinstance(sent, bytes) else sent


def shared_room() -> float:
    """Return the bytes of shared memory that are free, infinity where the system does not tell."""
    try:
        told = os.statvfs(SHARED_MEMORY)
    except (OSError, AttributeError):
        return float("inf")
    return told.f_bavail * told.f_frsize


class _Deaths:
    """Hears that a worker died, and says so while a batch is waited for: PyTorch's handler raises in the middle of a step."""

    def __init__(self) -> None:
        self.waiting, self.theirs = False, None

    def take_over(self) -> None:
        """Stand in for the handler that DataLoader sets once in a process, when the first workers start."""
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGCHLD) is not self:
            self.theirs = signal.signal(signal.SIGCHLD, self)

    @contextmanager
    def said(self) -> Iterator[None]:
        """Raise RuntimeError here for a worker that has died or dies now."""
        self.waiting = True
        try:
            self(signal.SIGCHLD, None)
            yield
        finally:
            self.waiting = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.waiting and callable(self.theirs):
            self.theirs(number, frame)


_deaths = _Deaths()


class Batches:
    """Batches one after another; `position` is all there is to resume.

    Args:
        items: what they are made of.
        batch: items in one, on each rank.
        position: number of the first batch.
        rank, world: which of how many machines of a job this is.
        workers: processes that make them; none makes them here.
        timeout: seconds without a batch after which workers count as hung.
        say: gets a line about recordings that cannot be read and workers that died.
    """

    def __init__(
        self,
        items: Items,
        batch: int,
        position: int = 0,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        timeout: float = 120.0,
        say: Callable[[str], None] = print,
    ) -> None:
        self.items, self.batch, self.position = items, batch, position
        self.rank, self.world, self.workers, self.timeout, self.say = rank, world, workers, timeout, say
        self.failures: Failures = {}
        self.restarts = 0
        self._stream: Iterator[list[Item] | bytes] | None = None

    def next(self) -> Batch:
        """Return the next batch.

        Raises:
            DataError: if no recording can be read, or workers die or hang again and again.
        """
        items = self._fetch()
        self._note(items)
        waveforms = [item.waveform for item in items if item.waveform is not None]
        if len(waveforms) < len(items):
            reason = next(iter(self.failures.values()), "unknown")
            raise DataError(f"recording after recording cannot be read, the first because {reason}: check data.train")
        self.position += 1
        return Batch(torch.stack(waveforms), [item.recording for item in items], [item.start for item in items])

    def seek(self, position: int) -> None:
        """Go on from another batch."""
        if position != self.position:
            self.close()
            self.position = position

    def close(self) -> None:
        """End the workers."""
        self._stream = None

    def _fetch(self) -> list[Item]:
        for _ in range(MOST_RESTARTS + 1):
            try:
                if self._stream is None:
                    self._stream = self._start()
                with _deaths.said():
                    return received(next(self._stream))
            except RuntimeError as error:  # what DataLoader raises where a worker died, or gave nothing for too long
                if "DataLoader" not in str(error):
                    raise
                self.restarts += 1
                self._stream = None
                self.say(f"data workers are started anew: {str(error).splitlines()[0]}")
        raise DataError(
            f"data workers died or hung {MOST_RESTARTS + 1} times in a row: try data.workers=0, or a longer data.timeout"
        )

    def _start(self) -> Iterator[list[Item] | bytes]:
        order = Order(self.position, self.batch, self.rank, self.world)
        timeout, collate = (self.timeout, Sending(KEPT * self.workers * self.world)) if self.workers else (0, _as_is)
        own = torch.Generator()  # else starting draws from the one of the steps, which a resumed run starts at another of them
        loader = DataLoader(
            self.items, batch_sampler=order, num_workers=self.workers, collate_fn=collate, timeout=timeout, generator=own
        )  # type: ignore[arg-type]
        try:
            stream = iter(loader)
        except OSError as error:
            raise DataError(
                f"data workers cannot be started ({error.strerror}): make room in {SHARED_MEMORY}, of which containers have "
                "little, or set data.workers=0"
            ) from None
        if self.workers:
            _deaths.take_over()
        return stream

    def _note(self, items: list[Item]) -> None:
        for name, reason in ((name, reason) for item in items for name, reason in item.failures.items()):
            if name not in self.failures:
                self.failures[name] = reason
                self.say(f"skipped, {len(self.failures)} so far: {reason}")


def _as_is(items: list[Item]) -> list[Item]:
    return items
