"""Large pages: memory taken inside of the `with` is moved to them, other memory is left, and a codec works as without."""

import mmap
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from toneme.export import huge_pages
from toneme.export.golden import made_audio
from toneme.export.huge_pages import LARGE, large_pages
from toneme.export.runtime import StreamingCodec

SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def taken(size: int) -> mmap.mmap:
    """Return fresh memory that is in use."""
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.write(b"\1" * size)
    return memory


def enlarged() -> int:
    """Return the bytes of this process that lie in large pages."""
    return sum(int(kb) for kb in re.findall(r"AnonHugePages:\s+(\d+)", Path("/proc/self/smaps").read_text())) * 1024


@pytest.mark.skipif(
    not SETTING.exists() or "[madvise]" not in SETTING.read_text(), reason="large pages are not given on request"
)
def test_memory_taken_inside_is_moved_and_no_more_than_asked_for():
    with large_pages(4 * LARGE):
        before, memory = enlarged(), taken(8 * LARGE)
    assert before + 2 * LARGE <= enlarged() < before + 6 * LARGE  # the system enlarges pages of its own accord, too
    assert memory[:] == b"\1" * (8 * LARGE)


@pytest.mark.skipif(not SETTING.exists(), reason="large pages are Linux's")
def test_memory_that_was_there_is_left():
    memory, before = taken(8 * LARGE), enlarged()
    with large_pages(4 * LARGE):
        pass
    assert enlarged() < before + 2 * LARGE
    assert len(memory) == 8 * LARGE
    with large_pages(0):
        other = taken(4 * LARGE)
    assert enlarged() < before + 2 * LARGE
    assert len(other) == 4 * LARGE


def test_nothing_happens_elsewhere_or_where_the_list_of_memory_is_hidden(monkeypatch):
    monkeypatch.setattr(huge_pages, "MAPS", "/proc/absent")
    with large_pages(LARGE):
        pass
    monkeypatch.setattr(sys, "platform", "darwin")
    with large_pages(LARGE):
        pass


def test_a_codec_codes_the_same(shipped_folder):
    pcm = made_audio(24000, 1, 1)
    large, small = (StreamingCodec(shipped_folder, large_pages=wanted) for wanted in (True, False))
    assert np.array_equal(large.encode(pcm), small.encode(pcm))
