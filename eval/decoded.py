"""Folders of audio that something else has decoded: evaluated as they stand, clip by clip, by their names."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..codecs.audio import read_audio
from ..codecs.errors import AudioError
from ..codecs.registry import codec_names
from .clips import Clip, find_clips
from .commands import HEAD, CommandError
from .systems import About, Rebuilt, System


@dataclass(frozen=True)
class DecodedFolder(System):
    """What came out of a codec elsewhere: a tree like that of the data, each file of any audio format."""

    name: str
    label: str
    identity: str
    about: About
    folder: Path
    suffixes: frozenset[str]
    codes_anything = False

    def rebuild_clip(self, clip: Clip, waveform: Tensor, sample_rate: int, device: str) -> Rebuilt:
        """Return the clip's decoded file, channels mixed to one, and the bits of its length at the rate that was told.

        Raises:
            AudioError: if there is none, or it cannot be read or holds no samples or such as are no numbers.
        """
        audio, rate = read_audio(file := self._find(clip))
        if not audio.shape[-1]:
            raise AudioError(f"{file} holds no samples: decode the clip to there again")
        mono = audio.mean(0)[: None if clip.seconds is None else round(clip.seconds * rate)]
        kbps = self.about.nominal_kbps
        return Rebuilt(mono, rate, 1000 * kbps * len(waveform) / sample_rate if kbps else None, 0.0)

    def rebuild(self, waveform: Tensor, sample_rate: int, device: str) -> Rebuilt:
        """Refuse: it knows the clips of the data alone.

        Raises:
            AudioError: always.
        """
        raise AudioError(f"{self.folder} holds what was decoded and codes nothing: name a clip of it")

    def _find(self, clip: Clip) -> Path:
        """Return the file of a clip's name with any suffix; the clip's own whole name before it, or its suffix, goes first."""
        base = self.folder / clip.name
        there = base.parent.iterdir() if base.parent.is_dir() else ()
        found = [file for file in there if file.suffix.lower() in self.suffixes and file.stem in (base.name, base.stem)]
        if not found:
            raise AudioError(f"{self.folder} holds no audio named like {clip.name}: decode the clip to there")
        return min(found, key=lambda file: (file.stem != base.name, file.suffix != base.suffix, file.name))


def decoded_folder(text: str, suffixes: Collection[str]) -> DecodedFolder | None:
    """Return the folder that "FOLDER", "NAME: FOLDER" or "NAME@KBPS: FOLDER" names, None where that is no folder of audio.

    Args:
        text: names it; what a packaged codec is called is none, nor is a folder that holds a codec or no audio.
        suffixes: of audio files, in lower case.

    Raises:
        CommandError: if several rates, or none that is a number, are given for one folder.
    """
    found = HEAD.match(text)
    folder = Path(found["command"] if found else text)
    if text in codec_names() or not folder.is_dir() or (folder / "config.json").exists():
        return None
    try:
        clips = find_clips(folder, suffixes)
    except AudioError:
        return None
    content = hashlib.sha256("\n".join(f"{clip.name} {clip.digest}" for clip in clips).encode()).hexdigest()[:16]
    kbps = _rate(found["rates"], text) if found and found["rates"] else None
    name = found["name"] if found else folder.resolve().name
    label = name if kbps is None else f"{name} {kbps:g}"
    return DecodedFolder(name, label, f"decoded {content} at {kbps}", About(nominal_kbps=kbps), folder, frozenset(suffixes))


def _rate(text: str, whole: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise CommandError(f"{whole!r} names no single rate in kbps: a folder has one, 'NAME@6: FOLDER'") from None
