"""Loops that hold no lock of the interpreter."""

import threading
import time
import warnings

import torch

from toneme.kernels.unlocked import Unlocked


def doubled(x: torch.Tensor, times: int) -> torch.Tensor:
    for _ in range(times):
        x = x * 2
    return x


def test_gives_what_python_gives_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(Unlocked(doubled)(torch.ones(3), 4), torch.full((3,), 16.0))


def test_is_python_where_there_is_no_compiler(monkeypatch):
    monkeypatch.delattr(torch.jit, "script")
    compiled = Unlocked(doubled)
    assert torch.equal(compiled(torch.ones(3), 4), torch.full((3,), 16.0))
    assert compiled._compiled is doubled


def test_is_python_where_there_is_no_source():
    names = {"__name__": "made"}
    exec("def halved(x):\n    return x / 2", names)
    compiled = Unlocked(names["halved"])
    assert torch.equal(compiled(torch.ones(3)), torch.full((3,), 0.5))
    assert compiled._compiled is names["halved"]


MOST = 3_000_000


def spin(ends: torch.Tensor, most: int) -> int:
    count = 0
    while count < most and not bool(ends):
        count += 1
    return count


def test_other_threads_run_meanwhile():
    """Code that holds Python's lock lets nobody else run: then only its own bound would end the loop."""
    ends, loop, found = torch.zeros((), dtype=torch.bool), Unlocked(spin), []
    thread = threading.Thread(target=lambda: found.append(loop(ends, MOST)))
    thread.start()
    time.sleep(0.2)
    ends.fill_(True)
    thread.join()
    assert 0 < found[0] < MOST
