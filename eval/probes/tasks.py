"""Tasks: which clips, what they are called, and which of them a probe learns from and is tested on.

They are read from the data and nothing of them is drawn here. A file `probes/NAME.csv` with the columns `path,label,split` is a
task of classification: `split` says train or test; a column `fold` makes every fold the test in turn instead; a column
`speaker` makes a second task, in which every speaker is the test in turn. Paths count from the folder that holds `probes`. A
`manifest.csv` beside that folder, with the columns `path,split,source,text`, makes one task of speech recognition from every
source with transcripts, split train to learn from and eval to test on. Several folders may hold tasks, each of its own name.
"""

import csv
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ...codecs.errors import TonemeError
from ..clips import Clip

LABELS = {
    "keyword": "wake word", "digits": "digit", "digits_new_speaker": "digit, new speaker", "speaker": "speaker",
    "intent": "intent", "intent_new_wording": "intent, new wording", "esc10": "environmental sound",
}  # fmt: skip
EXPECTED = ("keyword", "digits", "speaker", "intent", "esc10")  # files whose absence is told
REMEDIES = {"intent": "`codec intents FOLDER` makes one of spoken commands, to be named with --data or --probes"}
SPEECH = "speech recognition"


@dataclass(frozen=True)
class Split:
    """What is learned from and what is tested, as positions in the items of a task."""

    name: str
    train: tuple[int, ...]
    test: tuple[int, ...]


@dataclass(frozen=True)
class Task:
    """Clips with labels.

    Attributes:
        name: as results name it.
        label: as tables name it.
        clips: audio.
        labels: one for each clip: a class, or a text.
        splits: of which every one is learned anew.
        speech: whether labels are texts.
        note: what must be said of its figures.
    """

    name: str
    label: str
    clips: tuple[Clip, ...]
    labels: tuple[str, ...]
    splits: tuple[Split, ...]
    speech: bool = False
    note: str = ""

    @cached_property
    def identity(self) -> str:
        """Hash of everything that has an influence on a result."""
        clips = [(clip.digest, clip.seconds) for clip in self.clips]
        return hashlib.sha256(repr((clips, self.labels, self.splits)).encode()).hexdigest()[:16]

    @property
    def metrics(self) -> dict[str, tuple[str, str]]:
        """Label and direction of the metrics, all in percent."""
        if self.speech:
            return {"cer": ("character error rate", "lower"), "wer": ("word error rate", "lower")}
        return {"accuracy": ("accuracy", "higher")}


def find_tasks(*sources: Sequence[Clip]) -> tuple[list[Task], dict[str, str]]:
    """Return the tasks that can be made of these clips, and why others cannot, by name.

    Args:
        sources: clips of one data folder each.

    Raises:
        TonemeError: if no folder holds a folder `probes`, a file in it lacks a column, or two have a task of one name.
    """
    folders = [_probes(clips) for clips in sources]
    if not any(folder.is_dir() for folder in folders):
        raise TonemeError(
            f"the suite downstream takes labels from {folders[0]}, which does not exist: "
            "name a corpus with it by --data or --probes"
        )
    tasks: dict[str, Task] = {}
    for folder, clips in zip(folders, sources, strict=True):
        for task in _tasks(folder, clips):
            if task.name in tasks:
                raise TonemeError(f"{folder} is the second folder with a task {task.name}: leave one of them out")
            tasks[task.name] = task
    missing = {name: _no_labels(name) for name in EXPECTED if name not in tasks}
    missing |= {task.name: "too few of its clips are in the data" for task in tasks.values() if not task.splits}
    if not any(task.speech and task.splits for task in tasks.values()):
        missing["recognition"] = "no transcripts of clips to learn from and to test on: they stand in manifest.csv"
    return [task for task in tasks.values() if task.splits], missing


def _no_labels(name: str) -> str:
    remedy = f" ({REMEDIES[name]})" if name in REMEDIES else ""
    return f"no labels: probes/{name}.csv is not in the data{remedy}"


def _tasks(folder: Path, clips: Sequence[Clip]) -> Iterator[Task]:
    """Yield the tasks of one folder `probes`, those that cannot be done without splits."""
    known = {clip.path.resolve(): clip for clip in clips}
    for file in sorted(folder.glob("*.csv")):
        rows = _at_hand(read_rows(file, ("path", "label", "split")), folder.parent, known)
        yield from _classifications(file.stem, rows)
    manifest = folder.parent / "manifest.csv"
    if folder.is_dir() and manifest.is_file():
        rows = [row for row in read_rows(manifest, ("path", "split", "source", "text")) if normalise(row["text"])]
        yield from _recognitions(_at_hand(rows, folder.parent, known))


def normalise(text: str) -> str:
    """Return a text as letters in lower case, apostrophes, and single spaces."""
    kept = "".join(c if c.isalpha() or c == "'" else " " for c in text.lower())
    return re.sub(r" +", " ", kept).strip()


def _probes(clips: Sequence[Clip]) -> Path:
    path = Path(os.path.abspath(clips[0].path))  # not resolved: the clips may be links to files elsewhere
    root = path.parents[clips[0].name.count("/")].resolve()
    return root if root.name == "probes" else root / "probes"


def read_rows(file: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the lines of a CSV file by its heads.

    Raises:
        TonemeError: if it lacks one of these columns.
    """
    with file.open(newline="", encoding="utf-8-sig") as text:
        reader = csv.DictReader(text)
        if absent := set(columns) - set(reader.fieldnames or ()):
            raise TonemeError(f"{file} lacks the columns {', '.join(sorted(absent))}: add them, or move the file away")
        return [{key: value or "" for key, value in row.items() if key} for row in reader]


Labelled = list[tuple[dict[str, str], Clip]]


def _at_hand(rows: Iterable[dict[str, str]], base: Path, known: Mapping[Path, Clip]) -> Labelled:
    found = [(row, known.get((base / row["path"]).resolve())) for row in rows]
    return [(row, clip) for row, clip in found if clip]


def _classifications(name: str, rows: Labelled) -> list[Task]:
    labels = [row["label"] for row, _ in rows]
    columns = rows[0][0] if rows else {}
    turns = "fold" if "fold" in columns else ""
    tasks = [_task(name, rows, labels, _turns(rows, turns) if turns else [_given(rows, "test")])]
    if "speaker" in columns and columns["speaker"] != columns["label"]:
        tasks.append(_task(f"{name}_new_speaker", rows, labels, _turns(rows, "speaker")))
    return tasks


def _recognitions(rows: Labelled) -> list[Task]:
    tasks = []
    for source in sorted({row["source"] for row, _ in rows}):
        mine = [(row, clip) for row, clip in rows if row["source"] == source]
        labels = [normalise(row["text"]) for row, _ in mine]
        task = _task(f"recognition_{source}", mine, labels, [_given(mine, "eval")], speech=True)
        tasks += [task] if task.splits else []
    return tasks


def _task(name: str, rows: Labelled, labels: list[str], splits: list[Split], speech: bool = False) -> Task:
    usable = [split for split in splits if split.test and len({labels[i] for i in split.train}) > 1]
    seen = sum(row["path"].startswith("train/") for row, _ in rows)
    note = f"{seen} of its {len(rows)} clips lie under train/, where codecs may have learned from them" if seen else ""
    label = LABELS.get(name, f"{SPEECH}, {name.removeprefix('recognition_')}" if speech else name.replace("_", " "))
    return Task(name, label, tuple(clip for _, clip in rows), tuple(labels), tuple(usable), speech, note)


def _given(rows: Labelled, test: str) -> Split:
    marks = [row["split"] for row, _ in rows]
    return Split("split", *(tuple(i for i, mark in enumerate(marks) if mark == name) for name in ("train", test)))


def _turns(rows: Labelled, column: str) -> list[Split]:
    """Return one split for each value of a column, whose rows are the test."""
    values = [row[column] for row, _ in rows]
    return [
        Split(
            f"{column} {value}", *(tuple(i for i, v in enumerate(values) if (v == value) == tested) for tested in (False, True))
        )
        for value in sorted(set(values) - {""})
    ]
