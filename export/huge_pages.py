"""Pages of 2 MB for what a model takes: a step of a stream reads all of its weights, and every page costs a look-up.

Linux gives such pages to those who ask ("madvise" in /sys/kernel/mm/transparent_hugepage/enabled, the usual setting), and ONNX
Runtime does not ask. Weights that lie beside a graph are read into memory that has such pages from the beginning
(`read_large`). For those in the graph it is done from outside: `with large_pages(most):` around the loading of a model finds
the memory that came meanwhile, and asks for it. Needs the standard library alone; elsewhere than on Linux, nothing happens.
Source: Linux, Documentation/admin-guide/mm/transhuge.rst; madvise(2).
"""

import contextlib
import ctypes
import mmap
import os
import re
import sys
import time
from collections.abc import Iterator
from typing import Any, BinaryIO

MAPS = "/proc/self/maps"
LARGE, SMALL = 2**21, 2**12  # bytes
HUGEPAGE, COLLAPSE = 14, 25  # MADV_HUGEPAGE: some day, by itself; MADV_COLLAPSE: now, from Linux 6.1 on
PIECE, PATIENCE = 2**24, 0.1  # bytes that are read at once, and seconds for which large pages are asked for while they are read
LINE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw-p 00000000 00:00 0 *(\[heap\])?\n")


@contextlib.contextmanager
def large_pages(most: int) -> Iterator[None]:
    """Move up to `most` bytes that are taken inside of the `with` to large pages, about 4 ms for each of them."""
    libc = _library() if most else None
    before = anonymous() if libc else []
    yield
    if libc:
        _release(libc)
        new = [page for span in anonymous() for page in _pages(*span) if not any(a <= page < b for a, b in before)]
        pages = [page for page in new if _in_use(libc, page)][: most // LARGE]
        for page in pages:
            _enlarge(libc, page)


def read_large(file: BinaryIO, size: int) -> memoryview:
    """Return so many bytes of a file, or those that there are, in memory of large pages where Linux gives them soon enough.

    Where memory is in pieces Linux makes room for each of them, 7 ms in place of 0.4: what is left after `PATIENCE` comes in
    small pages, and in large ones some day.
    """
    memory, begun, got = _mapped(size), time.perf_counter(), 0
    while got < size:
        stop = min(size, got + PIECE)
        if time.perf_counter() - begun < PATIENCE:
            _advise(memory, got, stop)
        count = file.readinto(memory[got:stop])  # type: ignore[attr-defined]
        if not count:
            break
        got += count
    _advise(memory, 0, size)
    return memory[:got]


def _mapped(size: int) -> memoryview:
    """Return fresh memory that begins where a large page may."""
    if not sys.platform.startswith("linux"):
        return memoryview(bytearray(size))
    memory = mmap.mmap(-1, size + LARGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    start = -ctypes.addressof(ctypes.c_char.from_buffer(memory)) % LARGE
    return memoryview(memory)[start : start + size]


def _advise(memory: memoryview, start: int, stop: int) -> None:
    """Ask for large pages of a stretch of memory that was mapped; a refusal costs speed alone."""
    if isinstance(memory.obj, mmap.mmap) and stop - start >= LARGE:
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory)) + start
        ctypes.CDLL(None).madvise(ctypes.c_void_p(address), ctypes.c_size_t(stop - start), HUGEPAGE)


def anonymous() -> list[tuple[int, int]]:
    """Return where the memory lies that belongs to no file: (start, stop), addresses."""
    with open(MAPS) as maps:
        found = [LINE.fullmatch(line) for line in maps]
    return [(int(line[1], 16), int(line[2], 16)) for line in found if line]


def _library() -> Any:
    """Return the C library, or None where there is no madvise, or no list of memory to go by."""
    if not sys.platform.startswith("linux") or not os.access(MAPS, os.R_OK):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    return libc if hasattr(libc, "madvise") and hasattr(libc, "mincore") else None


def _release(libc: Any) -> None:
    """Give back what was freed, so that it is not moved."""
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def _pages(start: int, stop: int) -> range:
    """Return where large pages may begin that lie inside of (start, stop)."""
    return range(-(-start // LARGE) * LARGE, stop // LARGE * LARGE, LARGE)


def _in_use(libc: Any, page: int) -> bool:
    """Say whether at least half of what would be a large page is in memory."""
    used = (ctypes.c_ubyte * (LARGE // SMALL))()
    found = libc.mincore(ctypes.c_void_p(page), ctypes.c_size_t(LARGE), used) == 0
    return found and 2 * sum(byte & 1 for byte in used) >= len(used)


def _enlarge(libc: Any, page: int) -> None:
    """Ask for a large page. It is a request: a refusal costs speed alone."""
    for advice in (HUGEPAGE, COLLAPSE):
        libc.madvise(ctypes.c_void_p(page), ctypes.c_size_t(LARGE), advice)
