"""Recognition: what probes that learned from real recordings take made ones for, beside what they take real ones for.

Two probes, each the suite's classifier of log-mel spectra with its fixed budget: one learned from recordings, the other from
what a codec makes of them. Both are tested on recordings held out, on what the codec makes of those, which is about how well
anything in its tokens can be expected to be recognised, and on made recordings by the labels that they were to have. All are
brought to the lowest rate among the task's recordings first: real ones hold nothing above half of it, so that a probe of them
knows nothing about what a codec leaves there.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile
from torch import Tensor

from ...codecs.audio_resampling import resample
from ...codecs.errors import TonemeError
from ...codecs.files import native_name
from ..clips import Clip, find_clips
from ..summary import Summary, summarise_ratio
from ..systems import CodecSystem
from .features import LogMel
from .fitting import CLASSES, Budget, Part, fit_classes
from .tasks import Task, find_tasks

LABELS = "labels.csv"  # in a folder of made recordings: path,label
REAL = "recordings"


@dataclass(frozen=True)
class Recognised:
    """How many of some recordings a probe recognises.

    Attributes:
        learned: what the probe learned from.
        heard: what it was tested on.
        share: in per cent, mean over seeds, with the 95 % interval of recordings drawn anew.
        by_label: share of each label.
    """

    learned: str
    heard: str
    share: Summary
    by_label: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Narrowed(Clip):
    """A clip at another rate, as it is or as a codec carries it."""

    rate: int
    system: CodecSystem | None = None
    device: str = "cpu"

    def read(self) -> tuple[Tensor, int]:
        """Return the clip [time] and its rate in Hz."""
        waveform, rate = super().read()
        if self.system is not None:
            rebuilt = self.system.rebuild(waveform, rate, self.device)
            waveform, rate = rebuilt.audio, rebuilt.sample_rate
        return resample(waveform, rate, self.rate), self.rate


@dataclass(frozen=True)
class Heard:
    """Recordings with their labels, as inputs [frames, features] of a probe."""

    name: str
    inputs: list[Tensor]
    labels: list[str]

    def part(self, items: Sequence[int], name: str) -> "Heard":
        """Return some of them."""
        return Heard(name, [self.inputs[i] for i in items], [self.labels[i] for i in items])


def find_task(data: Path, name: str, suffixes: Sequence[str]) -> Task:
    """Return a task of classification of a corpus with the folder `probes`, or of such a folder.

    Raises:
        TonemeError: if there is none of that name with one split into train and test.
    """
    tasks, _ = find_tasks(find_clips(data, set(suffixes)))
    known = {task.name: task for task in tasks if not task.speech and len(task.splits) == 1}
    if name not in known:
        found = f"it has {', '.join(sorted(known))}" if known else "it has none"
        raise TonemeError(f"{data} has no task {name!r} of labels with a split into train and test: {found}")
    return known[name]


def read_made(folder: Path) -> list[tuple[Clip, str]]:
    """Return the recordings that a folder's labels.csv names, and the label that each was to have.

    Raises:
        TonemeError: if there is no such list, or nothing in it.
    """
    file = folder / LABELS
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            rows = [(row["path"], row["label"]) for row in csv.DictReader(text)]
    except (OSError, KeyError, ValueError) as error:
        raise TonemeError(f"{file} cannot be read ({error}): `codec generate --count N -o {folder}` writes it") from None
    if not rows or not all(label for _, label in rows):
        raise TonemeError(f"{file} must name recordings and the label of each: generate them with --label all")
    return [(Clip(folder / path, path, "", ""), label) for path, label in rows]


def recognise(
    made: Sequence[tuple[Clip, str]], task: Task, system: CodecSystem | None, budget: Budget | None = None, device: str = "cpu"
) -> list[Recognised]:
    """Return how many recordings each probe recognises, real ones and made ones.

    Args:
        made: recordings and the labels that they were to have.
        task: whose recordings probes learn from.
        system: the codec that carries them; without, there is neither its probe nor its ceiling.
        budget: of the probes, the suite's by default; a figure is the mean over its seeds.
        device: where codec and probes compute.

    Raises:
        TonemeError: if a label of a made recording is none of the task's.
    """
    if strange := sorted({label for _, label in made} - set(task.labels)):
        known = ", ".join(sorted(set(task.labels)))
        raise TonemeError(f"{strange[0]!r} is no label of the task {task.name}, which has {known}: name the task with --task")
    rate = lowest_rate(task.clips)
    pairs = list(zip(task.clips, task.labels, strict=True))
    real = [_hear(REAL, pairs, rate, None, device)]
    real += [_hear(f"{REAL} as {system.label} carries them", pairs, rate, system, device)] if system else []
    (split,) = task.splits
    tested = [*(heard.part(split.test, f"{heard.name}, held out") for heard in real), _hear("made", made, rate, None, device)]
    return [row for heard in real for row in _test(heard.part(split.train, heard.name), tested, budget or CLASSES, device)]


def lowest_rate(clips: Sequence[Clip]) -> int:
    """Return the lowest sample rate in Hz of some clips' files, whose names may be no text."""
    return min(soundfile.info(native_name(clip.path)).samplerate for clip in clips)


def _hear(name: str, pairs: Sequence[tuple[Clip, str]], rate: int, system: CodecSystem | None, device: str) -> Heard:
    clips = [
        Narrowed(clip.path, clip.name, clip.domain, clip.digest, clip.seconds, rate=rate, system=system, device=device)
        for clip, _ in pairs
    ]
    features = LogMel()
    return Heard(name, [features.read(clip, device) for clip in clips], [label for _, label in pairs])


def _test(learned: Heard, tested: Sequence[Heard], budget: Budget, device: str) -> list[Recognised]:
    """Return the rows of one probe."""
    inputs = [x for heard in tested for x in heard.inputs]
    answers = [label for heard in tested for label in heard.labels]
    part = Part(learned.inputs, learned.labels, inputs, answers)
    fits = [fit_classes(part, LogMel(), budget, seed, device)["values"]["accuracy"] for seed in budget.seeds]
    hits = [sum(own[i][0] for own in fits) / len(fits) for i in range(len(answers))]
    rows, start = [], 0
    for heard in tested:
        own = hits[start : start + len(heard.labels)]
        start += len(own)
        rows.append(Recognised(learned.name, heard.name, summarise_ratio([(hit, 1.0) for hit in own]), _shares(heard, own)))
    return rows


def _shares(heard: Heard, hits: Sequence[float]) -> dict[str, float]:
    found = {name: [hit for hit, label in zip(hits, heard.labels, strict=True) if label == name] for name in heard.labels}
    return {name: round(100 * sum(own) / len(own), 1) for name, own in sorted(found.items())}
