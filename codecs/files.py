"""Files: written so that nothing half-written is ever left where a whole one is expected, and told apart by their bytes."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MOST_NAME, MOST_SUFFIX = 40, 12  # characters in a temporary name, of up to 4 bytes each: file systems take 255 bytes


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place when the block ends well and is removed when it does not.

    Raises:
        OSError: if the folder cannot be written to.
    """
    path = Path(path)
    suffix = path.suffix if len(path.suffix) <= MOST_SUFFIX else ""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:MOST_NAME]}.", suffix=".part" + suffix)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        os.chmod(partial, 0o666 & ~_umask())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes in 64 hexadecimal digits.

    Raises:
        OSError: if it cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
