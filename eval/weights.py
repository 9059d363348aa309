"""Where learned metrics find their weights: a folder of the user's own, or a hub's cache, or the hub itself."""

import os
from functools import lru_cache
from pathlib import Path

from ..codecs.errors import MissingDependencyError

VARIABLE = "TONEME_WEIGHTS"


@lru_cache
def find_weights(name: str, files: tuple[str, ...], repository: str = "") -> Path:
    """Return the folder that holds all of `files`.

    Args:
        name: of a folder below that which the environment variable TONEME_WEIGHTS names; it is looked at first.
        files: that are needed; a pattern such as "*.json" asks for one or more.
        repository: on the Hugging Face hub, whose cache is looked at next, and then the hub; "" where there is none.

    Raises:
        MissingDependencyError: if they cannot be had.
    """
    own = os.environ.get(VARIABLE)
    if own and _holds(Path(own) / name, files):
        return Path(own) / name
    if repository:
        folder = _from_hub(repository, files)
        if folder and _holds(folder, files):
            return folder
    places = f"${VARIABLE}/{name}" + (f" or {repository} on the hub" if repository else "")
    raise MissingDependencyError(f"weights not available ({' and '.join(files)} in {places})")


def _holds(folder: Path, files: tuple[str, ...]) -> bool:
    return all(any(folder.glob(file)) for file in files)


def _from_hub(repository: str, files: tuple[str, ...]) -> Path | None:
    from huggingface_hub import snapshot_download

    for local in (True, False):
        try:
            return Path(snapshot_download(repository, allow_patterns=list(files), local_files_only=local))
        except Exception:  # whatever the hub's HTTP library raises says that it is not there; the caller tells so
            continue
    return None
