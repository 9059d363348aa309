"""Pauses of Python's own: what was there before live audio is not looked at while it lasts."""

import subprocess
import sys

PROGRAM = """
import gc, torch
from toneme.kernels.pauses import left_out
loop = []
loop.append(loop)
del loop
before = len(gc.get_objects())
with left_out():
    assert gc.collect() == 0, "the loop was still there"
    print(before, gc.get_freeze_count(), len(gc.get_objects()))
print(gc.get_freeze_count())
"""


def test_objects_that_are_there_are_left_out_of_collections_until_the_end():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    before, left_out, walked, after = map(int, done.stdout.split())
    assert left_out > 0.9 * before > 10_000
    assert walked < 0.1 * before
    assert after == 0
