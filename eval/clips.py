"""The clips of an evaluation: which files, of which domain, and what they sound like."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from ..codecs.audio import read_audio
from ..codecs.errors import AudioError
from ..codecs.files import files_below, sha256_of

DOMAINS = ("speech", "music", "environment", "sound", "noise")  # folders of these names say what their files are
SPLITS = ("train", "eval", "probes")  # folders of these names, above those of domains, say what their files are for


@dataclass(frozen=True)
class Clip:
    """One file.

    Attributes:
        path: of the file.
        name: path below the data folder, with slashes.
        domain: one of DOMAINS, or "" where it is not known.
        digest: of the file's bytes.
        seconds: to take of it from its start; None for all.
    """

    path: Path
    name: str
    domain: str
    digest: str
    seconds: float | None = None

    @property
    def split(self) -> str:
        """One of SPLITS where the first folder says so, else ""."""
        first = self.name.split("/")[0]
        return first if first in SPLITS and "/" in self.name else ""

    def read(self) -> tuple[Tensor, int]:
        """Return the clip [time], channels mixed to one, and its rate in Hz.

        Raises:
            AudioError: if it cannot be read or holds no samples.
        """
        waveform, rate = read_audio(self.path)
        mono = waveform.mean(0)[: None if self.seconds is None else round(self.seconds * rate)]
        if not len(mono):
            raise AudioError(f"{self.path} holds no samples: record or fetch it again")
        return mono, rate


def find_clips(data: Path, suffixes: Collection[str], limit: int | None = None, seconds: float | None = None) -> list[Clip]:
    """Return the clips in a folder and below it, or the one that a file is.

    Args:
        data: a folder, whose subfolders may say the domain (speech, music, environment) and above it the split (train,
            eval, probes), or a file.
        suffixes: of audio files, in lower case.
        limit: take so many of each split, evenly spread over each domain.
        seconds: take so much of each from its start.

    Raises:
        AudioError: if there is none.
    """
    files = [data] if data.is_file() else sorted(_walk(data, suffixes))
    if not files:
        raise AudioError(f"{data} holds no audio: looked for {', '.join(sorted(suffixes))} in it and below")
    named = [(file, file.name if file == data else file.relative_to(data).as_posix()) for file in files]
    found = [Clip(file, name, _domain(data, name), "", seconds) for file, name in named]
    kept = found if limit is None else _spread(found, limit)
    return [replace(clip, digest=sha256_of(clip.path)[:16]) for clip in kept]


def _walk(folder: Path, suffixes: Collection[str]) -> list[Path]:
    if not folder.is_dir():
        raise AudioError(f"{folder} does not exist: name a folder of audio")
    return list(files_below(folder, suffixes))


def _domain(data: Path, name: str) -> str:
    folders = name.split("/")[:-1] or [data.resolve().name]
    named = folders[1] if folders[0] in SPLITS and len(folders) > 1 else folders[0]
    return named.lower() if named.lower() in DOMAINS else ""


def _spread(found: list[Clip], limit: int) -> list[Clip]:
    """Keep `limit` clips of each split, each domain in proportion to its size, one at least, evenly spread over its files."""
    kept = []
    for split in dict.fromkeys(clip.split for clip in found):
        clips = [clip for clip in found if clip.split == split]
        for domain in dict.fromkeys(clip.domain for clip in clips):
            members = [clip for clip in clips if clip.domain == domain]
            count = min(len(members), max(1, round(limit * len(members) / len(clips))))
            kept += [members[i * len(members) // count] for i in range(count)]
    return kept
