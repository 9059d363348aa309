"""The C library's allocator in a process of its own: what is freed with one batch is wanted again with the next."""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
KEPT = 1 << 30  # bytes that may lie free at the end of the heap
SMALL = 32 << 20  # bytes of the largest block that comes from the heap; glibc takes no more


def keep_freed() -> bool:
    """Let this process keep memory that it frees, and return whether the C library heeds that: glibc does.

    Else much of it goes back to the system after each batch, which clears every page of it anew for the next.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return set_option is not None and bool(set_option(TRIM_THRESHOLD, KEPT) and set_option(MMAP_THRESHOLD, SMALL))
