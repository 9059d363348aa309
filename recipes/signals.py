"""Ends of a run from outside: after the step that they interrupt, so that the run can be saved and resumed."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ENDS = [signal.SIGTERM, signal.SIGINT]


@contextmanager
def on_end_signals(stop: Callable[[int], None]) -> Iterator[None]:
    """Call `stop` with the signal's number at SIGTERM, Ctrl-C or the terminal's end inside the block.

    A second one does what it did before. A terminal's end that is ignored, as under nohup, goes on being ignored.
    """

    def heard(number: int, frame: FrameType | None) -> None:
        stop(number)
        signal.signal(number, before[signal.Signals(number)])

    hangups = [signal.SIGHUP] if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN else []
    before = {number: signal.getsignal(number) for number in (*ENDS, *hangups)}
    for number in before:
        signal.signal(number, heard)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
