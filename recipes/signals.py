"""Ends of a run from outside: after the step that they interrupt, so that the run can be saved and resumed."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def on_end_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` at SIGTERM or Ctrl-C inside the block; a second one does what it did before."""

    def heard(number: int, frame: FrameType | None) -> None:
        stop()
        signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, heard)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
