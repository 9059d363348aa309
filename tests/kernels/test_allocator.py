"""Memory that a worker frees and takes again."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from toneme.kernels.allocator import keep_freed

torch.set_num_threads(1)
if sys.argv[1] == "kept":
    assert keep_freed()

def batch():
    held = [torch.ones(1 << 20) for _ in range(40)]  # 4 MB each

batch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    batch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such option")
def test_freed_memory_is_not_cleared_by_the_system_again():
    faults = {}
    for how in ("kept", "given back"):
        ran = subprocess.run([sys.executable, "-P", "-c", FAULTS, how], capture_output=True, text=True, check=True)
        faults[how] = int(ran.stdout)
    assert faults["kept"] < faults["given back"] / 4


def test_where_there_is_no_such_option_nothing_is_done(monkeypatch):
    from toneme.kernels import allocator

    monkeypatch.setattr(allocator.sys, "platform", "win32")
    assert not allocator.keep_freed()
    monkeypatch.setattr(allocator.sys, "platform", "linux")
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: object())
    assert not allocator.keep_freed()
