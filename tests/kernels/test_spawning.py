"""Processes that do not hear what a terminal sends, from before they can say so."""

import signal
import subprocess
import sys

import pytest

from toneme.kernels.spawning import unheard

SCRIPT = """
import multiprocessing, os, pathlib, signal, time
from multiprocessing import resource_tracker
from toneme.kernels.spawning import unheard

def blocked(pid):
    line = next(line for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigBlk"))
    mask = int(line.split()[1], 16)
    return sorted(number.name for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM) if mask >> (number - 1) & 1)

if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
    with unheard():
        process.start()
    keeper = resource_tracker._resource_tracker._pid
    print(blocked(process.pid), "SIGHUP" in blocked(keeper), blocked(os.getpid()))  # of Ctrl-C it takes care itself
    process.kill()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which signals a process blocks")
def test_what_is_started_hears_no_interrupt_and_no_end_of_the_terminal(tmp_path):
    (tmp_path / "starting.py").write_text(SCRIPT)
    told = subprocess.run([sys.executable, "-P", tmp_path / "starting.py"], capture_output=True, text=True, check=True)
    assert told.stdout == "['SIGHUP', 'SIGINT'] True []\n"


def test_systems_without_masks_start_processes_as_ever(monkeypatch):
    monkeypatch.delattr(signal, "pthread_sigmask", raising=False)
    with unheard():
        ran = subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True, text=True, check=True)
    assert ran.stdout == "1\n"
