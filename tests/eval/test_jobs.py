"""Jobs: every result once, kept at once, errors tried again, the same from processes as from this one."""

import importlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from toneme.codecs.errors import TonemeError
from toneme.eval.jobs import Cache, run_jobs

from .processes import is_running, wait_until


@pytest.fixture
def Square(monkeypatch):  # noqa: N802 - a class
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return importlib.import_module("square_job").Square


@pytest.fixture
def cache(tmp_path):
    cache = Cache(tmp_path / "deep" / "cache.sqlite")
    yield cache
    cache.close()


def test_what_is_known_is_not_computed_again(cache, Square):
    told = []
    first = run_jobs([Square(2), Square(3)], cache, advance=told.append)
    assert first["square 3"] == {"value": 9}
    assert sum(told) == 2
    again = run_jobs([Square(2, dies=True), Square(3, dies=True)], cache)
    assert again == first


def test_only_missing_keys_are_asked_for_and_errors_are_tried_again(cache, Square):
    cache.put({"square 4": {"value": "kept"}})
    assert run_jobs([Square(4)], cache)["square 4"] == {"value": "kept"}
    failed = run_jobs([Square(5, fails=True)], cache)
    assert failed["square 5"] == {"error": "no luck"}
    assert run_jobs([Square(5)], cache)["square 5"] == {"value": 25}


def test_processes_and_devices_share_the_work_and_some_jobs_are_alone(cache, Square):
    jobs = [Square(0, alone=True), *(Square(n) for n in range(1, 9))]
    results = run_jobs(jobs, cache, workers=2, devices=["first", "second"])
    assert [results[f"square {n}"]["value"] for n in range(9)] == [n**2 for n in range(9)]
    others = {results[f"process {n}"]["pid"] for n in range(1, 9)}
    assert results["process 0"]["pid"] not in {os.getpid(), *others}
    assert os.getpid() not in others
    assert {results[f"process {n}"]["device"] for n in range(1, 9)} <= {"first", "second"}


def test_a_dead_worker_is_one_sentence(cache, Square):
    with pytest.raises(TonemeError, match="a worker process was ended from outside"):
        run_jobs([Square(1, alone=True, dies=True)], cache)


def test_what_a_job_raises_is_its_result_alone(cache, Square):
    results = run_jobs([Square(6, breaks=True), Square(7)], cache)
    assert results["square 6"] == {"error": "unexpected ValueError (a number too many)"}
    assert results["square 7"] == {"value": 49}
    assert run_jobs([Square(6)], cache)["square 6"] == {"value": 36}  # errors are tried again


STOPPED = """
import signal, sys
def end(number, frame):
    sys.exit(128 + number)
if __name__ == "__main__":
    for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
        signal.signal(number, end)
"""
KILLED = """
import sys
from pathlib import Path
from toneme.eval.jobs import Cache, run_jobs
sys.path.insert(0, sys.argv[1])
from square_job import Square
if __name__ == "__main__":
    jobs = [Square(1), *(Square(n, waits_in=sys.argv[2]) for n in (2, 3))]
    run_jobs(jobs, Cache(Path(sys.argv[2], "cache.sqlite")), workers=2)
"""


def test_a_run_that_is_killed_keeps_its_results_and_leaves_no_worker(tmp_path, Square):
    (tmp_path / "killed.py").write_text(KILLED)
    parent = subprocess.Popen([sys.executable, "-P", tmp_path / "killed.py", Path(__file__).parent, tmp_path])
    wait_until(lambda: len(list(tmp_path.glob("*.pid"))) == 2)
    parent.kill()
    parent.wait()
    pids = [int(file.read_text()) for file in tmp_path.glob("*.pid")]
    wait_until(lambda: not any(map(is_running, pids)))
    assert len(list(tmp_path.glob("*.cleared"))) == 2
    cache = Cache(tmp_path / "cache.sqlite")
    assert cache.get(["square 1"]) == {"square 1": {"value": 1}}
    assert run_jobs([Square(1, dies=True), Square(2), Square(3)], cache)["square 3"] == {"value": 9}
    cache.close()


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="the system has no groups of processes")
@pytest.mark.parametrize(("number", "group"), [(signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGHUP, True)])
def test_a_run_that_is_stopped_does_not_wait_for_jobs_and_lets_them_clear_up(tmp_path, number, group):
    """The jobs would take a minute each; a terminal sends its signals to the whole group, and `kill` to one process."""
    (tmp_path / "stopped.py").write_text(KILLED.replace("import sys", STOPPED, 1))
    command = [sys.executable, "-P", tmp_path / "stopped.py", Path(__file__).parent, tmp_path]
    parent = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: len(list(tmp_path.glob("*.pid"))) == 2)
    start = time.monotonic()
    (os.killpg if group else os.kill)(parent.pid, number)
    _, messages = parent.communicate(timeout=50)
    assert time.monotonic() - start < 40
    assert (parent.returncode, messages) == (128 + number, "")
    assert len(list(tmp_path.glob("*.cleared"))) == 2
    assert not any(is_running(int(file.read_text())) for file in tmp_path.glob("*.pid"))


def test_a_cache_that_another_run_writes_is_one_sentence(tmp_path, Square):
    cache, path = Cache(tmp_path / "cache.sqlite"), tmp_path / "cache.sqlite"
    cache._database.execute("PRAGMA busy_timeout = 0")
    other = sqlite3.connect(path)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(TonemeError, match=r"cannot be read or written \(database is locked\).*name another"):
        run_jobs([Square(1)], cache)
    other.close()
    assert run_jobs([Square(1)], cache)["square 1"] == {"value": 1}
    cache.close()


def test_a_file_that_is_no_cache_is_refused(tmp_path):
    (tmp_path / "cache.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(TonemeError, match="is no cache"):
        Cache(tmp_path / "cache.sqlite")
