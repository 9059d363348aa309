"""Files: written so that nothing half-written is ever left where a whole one is expected, and told apart by their bytes."""

import hashlib
import os
import secrets
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

AUDIO = frozenset(  # suffixes, in lower case
    (
        *(".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64", ".rf64"),
        *(".m4a", ".m4b", ".mp4", ".aac", ".wma", ".webm", ".mka", ".mkv", ".amr"),  # through ffmpeg
    )
)
MOST_NAME, MOST_SUFFIX = 40, 12  # characters in a temporary name, of up to 4 bytes each: file systems take 255 bytes


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place when the block ends well and is removed when it does not.

    Raises:
        OSError: if the folder cannot be written to.
    """
    path = Path(path)
    partial = _created(path)
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def files_below(
    folder: str | Path, suffixes: Collection[str], onerror: Callable[[OSError], object] | None = None
) -> Iterator[Path]:
    """Yield the files in a folder and below it, in folders that are links too, save such as lead back to where they are.

    What begins with a dot is passed over.

    Args:
        folder: to look in.
        suffixes: of the files, in lower case.
        onerror: takes why a folder cannot be read; without, it is passed over.
    """
    above = {os.fspath(folder): frozenset({os.path.realpath(folder)})}  # of each folder to come: where it and those above are
    for here, below, names in os.walk(folder, onerror=onerror, followlinks=True):
        known = above.pop(here)
        real = {name: os.path.realpath(os.path.join(here, name)) for name in sorted(below) if not name.startswith(".")}
        below[:] = [name for name, place in real.items() if place not in known]
        above |= {os.path.join(here, name): known | {real[name]} for name in below}
        yield from (Path(here, name) for name in names if not name.startswith(".") and Path(name).suffix.lower() in suffixes)


def native_name(path: str | os.PathLike[str]) -> Any:
    """Return the name that libsndfile opens: bytes, since it may be no text, though `soundfile`'s types say text."""
    return os.fsencode(path)


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes in 64 hexadecimal digits.

    Raises:
        OSError: if it cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _created(path: Path) -> Path:
    """Return a new empty file beside `path`, with the permissions of any file that is made there."""
    suffix = path.suffix if len(path.suffix) <= MOST_SUFFIX else ""
    partial = path.parent / f".{path.name[:MOST_NAME]}.{secrets.token_hex(8)}.part{suffix}"
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return partial
