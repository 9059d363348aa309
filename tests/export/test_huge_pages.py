"""Large pages: memory taken inside of the `with` is moved to them, other memory is left, and a codec works as without."""

import contextlib
import ctypes
import mmap
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

from toneme.export import huge_pages, runtime
from toneme.export.golden import made_audio
from toneme.export.huge_pages import LARGE, large_pages
from toneme.export.runtime import StreamingCodec


def taken(size: int) -> mmap.mmap:
    """Return fresh memory that is in use."""
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.write(b"\1" * size)
    return memory


def start_of(memory: mmap.mmap) -> int:
    """Return the address of memory."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


@pytest.fixture
def asked(monkeypatch) -> list[int]:
    """Return the addresses of large pages that are asked for; whether the system gives them is its own affair."""
    pages, enlarge = [], huge_pages._enlarge
    monkeypatch.setattr(huge_pages, "_enlarge", lambda libc, page: (pages.append(page), enlarge(libc, page)))
    return pages


@pytest.mark.skipif(sys.platform != "linux", reason="large pages are Linux's")
def test_pages_are_asked_for_where_memory_was_taken_inside_and_no_more_than_allowed(asked):
    older = taken(8 * LARGE)
    with large_pages(64 * LARGE):
        memory = taken(8 * LARGE)
    start, before = start_of(memory), start_of(older)
    assert len([page for page in asked if start <= page < start + 8 * LARGE]) >= 6
    assert not [page for page in asked if before <= page < before + 7 * LARGE]
    assert memory[:] == older[:] == b"\1" * (8 * LARGE)
    asked.clear()
    with large_pages(4 * LARGE):
        more = taken(8 * LARGE)
    assert len(asked) == 4
    assert more[:] == b"\1" * (8 * LARGE)


@pytest.mark.skipif(sys.platform != "linux", reason="large pages are Linux's")
def test_nothing_is_asked_for_where_nothing_is_allowed_or_in_use(asked):
    with large_pages(0):
        other = taken(4 * LARGE)
    with large_pages(64 * LARGE):
        unused = mmap.mmap(-1, 8 * LARGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    spans = [(start_of(other), 4 * LARGE), (start_of(unused), 8 * LARGE)]
    assert not [page for page in asked for start, size in spans if start <= page < start + size]


@pytest.mark.skipif(sys.platform != "linux", reason="large pages are Linux's")
def test_what_is_more_than_can_be_waited_for_follows_by_itself(asked, monkeypatch):
    monkeypatch.setattr(huge_pages, "AT_ONCE", 2 * LARGE)
    with large_pages(64 * LARGE):
        memory = taken(8 * LARGE)
    for thread in [thread for thread in threading.enumerate() if thread.name == "toneme-large-pages"]:
        thread.join(timeout=60)
    start = start_of(memory)
    assert len({page for page in asked if start <= page < start + 8 * LARGE}) >= 6
    assert memory[:] == b"\1" * (8 * LARGE)


@pytest.mark.skipif(sys.platform != "linux", reason="large pages are Linux's")
def test_memory_that_was_given_back_meanwhile_is_left(asked):
    memory = taken(8 * LARGE)
    pages = list(huge_pages._pages(start_of(memory), start_of(memory) + 8 * LARGE))
    memory.close()
    huge_pages._follow(huge_pages._library(), pages)
    assert not asked


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


def test_codecs_in_chunks_go_without(small_folder, monkeypatch):
    asked: list[int] = []
    monkeypatch.setattr(runtime, "large_pages", lambda most: contextlib.nullcontext(asked.append(most)))
    for mode in ("steps", "chunks"):
        codec = StreamingCodec(small_folder)
        codec.manifest = replace(codec.manifest, decoder=replace(codec.manifest.decoder, mode=mode))
        codec.session("decoder.onnx")
    assert asked[0] > 0 == asked[1]
