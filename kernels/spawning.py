"""Processes that are started anew: what a terminal sends to all is their parent's to answer, which ends them."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

UNHEARD = {getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)}


@contextmanager
def unheard() -> Iterator[None]:
    """Let processes that are started inside never hear Ctrl-C or the terminal's end.

    They take seconds to import PyTorch, before which they cannot ask to be left alone, and would end with a traceback each; so
    would the process in which Python notes what is to be removed, where it was ended by that of the terminal. Windows, which
    has no masks of signals, starts them as ever.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, UNHEARD)
    try:
        resource_tracker.ensure_running()  # the first time, this lets Ctrl-C through again
        signal.pthread_sigmask(signal.SIG_BLOCK, UNHEARD)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
