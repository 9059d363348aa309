"""What tells a cache whether a recording is still the one that it was made of."""

import hashlib
import os
from collections.abc import Sequence
from functools import lru_cache

from .recording import Recording

Stamp = tuple[int, int, int]  # bytes, when they were written last (ns), and 63 bits of their digest
HASHED_AT_ONCE = 1 << 20  # bytes


def stamp(recording: Recording) -> Stamp:
    """Return the stamp of a recording; all of it is 0 where its file cannot be read."""
    now = _now(recording)
    if now is None:
        return 0, 0, 0
    return *now, _digest(recording.path, recording.offset, *now)


def renewed(recording: Recording, kept: Sequence[int]) -> Stamp | None:
    """Return the stamp by which a recording is known from now on, None where its bytes are others than those of a kept one.

    They are read only where their time alone is another, as that of copies is. A file that is not there has not changed: what
    is in a cache does without it.
    """
    size, time, digest = kept
    now = _now(recording)
    if now is None or now == (size, time):
        return size, time, digest
    return (*now, digest) if now[0] == size and _digest(recording.path, recording.offset, *now) == digest else None


def changed_since(recording: Recording, time: int) -> bool:
    """Return whether a recording's file was written after a time (ns): of caches without stamps there is no more to know."""
    now = _now(recording)
    return now is not None and now[1] > time


def _now(recording: Recording) -> tuple[int, int] | None:
    try:
        found = os.stat(recording.path)
    except OSError:
        return None
    return recording.size if recording.member else found.st_size, found.st_mtime_ns


@lru_cache(maxsize=1 << 14)
def _digest(path: str, offset: int, size: int, time: int) -> int:
    """Digest of some bytes of a file that was written at a time; 0 where they cannot be read."""
    digest = hashlib.blake2b(digest_size=8)
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            for at in range(0, size, HASHED_AT_ONCE):
                digest.update(file.read(min(HASHED_AT_ONCE, size - at)))
    except OSError:
        return 0
    return int.from_bytes(digest.digest()) >> 1 or 1
