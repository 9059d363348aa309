"""Finding recordings: folders, manifests and tar shards."""

import csv
import json
import re
import tarfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from glob import glob
from pathlib import Path
from typing import Any

from ...codecs.errors import AudioError
from ...codecs.files import AUDIO, files_below
from ..errors import DataError
from .recording import Recording

HOW = "give data.train=FOLDER, a manifest (.csv, .jsonl) or tar shards"
Failures = dict[str, str]  # name of a recording -> why it cannot be used


def list_recordings(train: Any, split: str = "train") -> list[Recording]:
    """Return the recordings that a recipe's `data.train` names.

    Args:
        train: a folder (its `manifest.csv` counts where it has one), a manifest, tar shards ("shard-{000..009}.tar",
            wildcards), a list of these, or a table of domain -> any of these.
        split: rows of manifests with a column `split` that are used.

    Raises:
        DataError: if there is nothing there.
    """
    if not train:
        raise DataError(f"the recipe says nothing about where its audio is: {HOW}")
    if isinstance(train, Mapping):
        return [replace(part, domain=str(domain)) for domain, inner in train.items() for part in list_recordings(inner, split)]
    if isinstance(train, list | tuple):
        return [part for inner in train for part in list_recordings(inner, split)]
    found = [part for path in expand(str(train)) for part in _one(Path(path), split)]
    if not found:
        raise DataError(f"no training audio in {train}: {HOW} that holds {', '.join(sorted(AUDIO))}")
    return found


def expand(pattern: str) -> list[str]:
    """Return the paths that a pattern names: `{000..009}` counts, `*` and `?` are looked up."""
    braces = re.search(r"\{(\d+)\.\.(\d+)\}", pattern)
    if braces:
        first, last, width = int(braces[1]), int(braces[2]), len(braces[1])
        inner = [f"{pattern[: braces.start()]}{n:0{width}d}{pattern[braces.end() :]}" for n in range(first, last + 1)]
        return [path for part in inner for path in expand(part)]
    return sorted(glob(pattern)) if re.search(r"[*?]", pattern) else [pattern]


def _one(path: Path, split: str) -> list[Recording]:
    if not path.exists():
        raise DataError(f"there is no {path}: {HOW}")
    if path.is_dir():
        manifest = path / "manifest.csv"
        return _manifest(manifest, split) if manifest.is_file() else _folder(path)
    readers: dict[str, Callable[[], list[Recording]]] = {
        ".csv": lambda: _manifest(path, split), ".jsonl": lambda: _manifest(path, split), ".tar": lambda: _shard(path)
    }  # fmt: skip
    if path.suffix.lower() in readers:
        return readers[path.suffix.lower()]()
    return [Recording(str(path))]


def _folder(path: Path) -> list[Recording]:
    shards = sorted(path.glob("*.tar"))
    if shards:
        return [part for shard in shards for part in _shard(shard)]
    return [Recording(str(file)) for file in sorted(files_below(path, AUDIO))]


def read_manifest(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a manifest, `.csv` or a JSON object per line, in UTF-8 with or without a byte order mark.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is something else.
    """
    with path.open(newline="", encoding="utf-8-sig") as lines:  # spreadsheets begin with the mark
        if path.suffix.lower() == ".csv":
            return list(csv.DictReader(lines))
        rows = [json.loads(line) for line in lines if line.strip()]
    if strange := [row for row in rows if not isinstance(row, dict)]:
        raise ValueError(f"{str(strange[0])[:40]!r} is no object")
    return rows


def _manifest(path: Path, split: str) -> list[Recording]:
    try:
        rows = read_manifest(path)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} is not a manifest ({error}): a row has a path, and may have domain, split and seconds"
        ) from None
    return list(_rows(path, rows, split))


def _rows(manifest: Path, rows: list[dict], split: str) -> Iterable[Recording]:
    for row in rows:
        path = row.get("path") or row.get("audio_filepath") or row.get("audio")
        if not path:
            raise DataError(f"{manifest} has a row without a path: name the column path")
        if row.get("split", split) == split:
            seconds = _seconds(manifest, row.get("seconds") or row.get("duration") or 0)
            text = row.get("text") or ""
            times = _times(manifest, row.get("times") or (), text)
            yield Recording(str(manifest.parent / path), row.get("domain") or "", seconds, text, times)


def _seconds(manifest: Path, given: Any) -> float:
    try:
        seconds = float(given)
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise DataError(f"{manifest} must give seconds (or duration) as a number from 0 up; got {str(given)[:60]!r}")
    return seconds


def _times(manifest: Path, given: Any, text: str) -> tuple[float, ...]:
    """From and to of every word, of a list or of numbers with spaces between."""
    try:
        times = tuple(float(number) for number in (given.split() if isinstance(given, str) else given))
    except (TypeError, ValueError):
        times = (0.0,)
    if times and len(times) != 2 * len(text.split()):
        raise DataError(f"{manifest} must have two times, in seconds, for every word of {text[:40]!r}; got {str(given)[:60]!r}")
    return times


def _shard(path: Path) -> list[Recording]:
    """Members of a shard; only the headers are read here, and any member can be read by itself later."""
    found = []
    try:
        with tarfile.open(path, "r:") as shard:
            for member in shard:
                if member.isfile() and Path(member.name).suffix.lower() in AUDIO:
                    found.append(Recording(str(path), member=member.name, offset=member.offset_data, size=member.size))
    except tarfile.TarError as error:
        if not found:
            raise DataError(f"{path} is not an uncompressed tar shard ({error}): write it again without compression") from None
    return found


def measure(recordings: list[Recording], threads: int = 8) -> tuple[list[Recording], Failures]:
    """Return the recordings with their lengths where these were not known, and why others cannot be read.

    A shard's members are left as they are: reading a header there means reading the member.
    """

    def one(recording: Recording) -> Recording | str:
        if recording.seconds or recording.member:
            return recording
        try:
            seconds = recording.measure()
        except AudioError as error:
            return str(error)
        return replace(recording, seconds=seconds) if seconds > 0 else f"{recording.name} is empty"

    with ThreadPoolExecutor(threads) as pool:
        results = list(pool.map(one, recordings))
    failures = {part.name: result for part, result in zip(recordings, results, strict=True) if isinstance(result, str)}
    return [result for result in results if isinstance(result, Recording)], failures
