"""Spoken commands: a task of intents that anyone can make, by a speech synthesizer and simulated rooms.

All draws follow one seed, so that the same synthesizer says the same. Tests are by people who are not heard in training; in
`intent` with wordings of training, in `intent_new_wording` with others.
"""

import csv
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np

from ...codecs.audio import write_audio
from ...codecs.audio_resampling import resample
from ...codecs.errors import TonemeError
from .intents import INTENTS, Intent
from .rooms import Room, draw_room
from .voices import Synthesizer, Voice, draw_voices, vary

NAMES = ("intent", "intent_new_wording")  # files of tasks: tests with known wordings, and with new ones
SAMPLE_RATE = 16000
TESTED = 3  # one person of so many is heard in tests alone
KNOWN, TEST = 3, 2  # wordings of an intent that each person says in training, and in each test
Watch = Callable[[int], AbstractContextManager[Callable[[float], None]]]


@dataclass(frozen=True)
class Command:
    """A recording to be made.

    Attributes:
        path: below the data folder, with slashes.
        part: train, or the task that it tests.
        intent: what it wants.
        text: what is said.
        voice: who says it.
        room: where.
    """

    path: str
    part: str
    intent: Intent
    text: str
    voice: Voice
    room: Room

    def record(self, synthesizer: Synthesizer, root: Path) -> None:
        """Speak and write it.

        Raises:
            CommandError: if the synthesizer fails.
        """
        speech, rate = synthesizer.speak(self.text, self.voice)
        heard = self.room.hear(resample(speech, rate, SAMPLE_RATE), SAMPLE_RATE)
        write_audio(root / self.path, heard[None], SAMPLE_RATE)

    def row(self) -> dict[str, str]:
        """Return its line in a task's file."""
        split = "train" if self.part == "train" else "test"
        return {
            "path": self.path, "label": self.intent.label, "split": split, "text": self.text, "voice": self.voice.name,
        }  # fmt: skip


def plan_commands(names: Sequence[str] = (), seed: int = 0) -> list[Command]:
    """Return all recordings of a task.

    Args:
        names: of the synthesizer's voices, those of espeak-ng where there are none.
        seed: of everything that is drawn.

    Raises:
        TonemeError: if there are too few voices to learn from some and test with others.
    """
    if names and len(set(names)) < TESTED:
        raise TonemeError(
            f"{len(set(names))} voices are too few to learn from some and test with others: name {TESTED} or more"
        )
    draw, rooms = Random(seed), np.random.default_rng(seed)
    voices = draw_voices(list(dict.fromkeys(names)), draw)
    tested = set(draw.sample(range(len(voices)), len(voices) // TESTED))
    return [
        Command(f"probes/intent/{i:02d}/{k:03d}.flac", part, intent, text, vary(voice, draw), draw_room(rooms))
        for i, voice in enumerate(voices)
        for k, (part, intent, text) in enumerate(_said(i in tested, draw))
    ]


def make_commands(commands: Sequence[Command], synthesizer: Synthesizer, root: Path, watch: Watch) -> None:
    """Write the recordings and both tasks' files into the folder `probes` of a data folder, once all are made.

    Args:
        commands: what is said, by whom and where.
        synthesizer: that speaks.
        root: the data folder, which is made where it is missing.
        watch: number of recordings to a context that gives a function to be told of those done.

    Raises:
        TonemeError: if the folder has such files already, or the synthesizer fails.
    """
    probes = root / "probes"
    for taken in (probes / "intent", *(probes / f"{name}.csv" for name in NAMES)):
        if taken.exists():
            raise TonemeError(f"{taken} exists: name another folder, or move it away")
    probes.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=probes, prefix=".intent-") as made, watch(len(commands)) as advance:
        for command in commands:
            (Path(made) / command.path).parent.mkdir(parents=True, exist_ok=True)
            command.record(synthesizer, Path(made))
            advance(1)
        os.replace(Path(made) / "probes" / "intent", probes / "intent")
    for name in NAMES:
        write_task(probes / f"{name}.csv", [command.row() for command in commands if command.part in ("train", name)])


def write_task(file: Path, rows: Sequence[dict[str, str]]) -> None:
    """Write a task's file of labels as a whole."""
    part = file.with_name(f".{file.name}.part")
    try:
        with part.open("w", newline="", encoding="utf-8") as text:
            writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)


def _said(tested: bool, draw: Random) -> Iterator[tuple[str, Intent, str]]:
    """Yield what one person says, and for which part."""
    for intent in INTENTS:
        tests = [(NAMES[0], intent.known, TEST), (NAMES[1], intent.held_out, TEST)]
        for part, texts, count in tests if tested else [("train", intent.known, KNOWN)]:
            yield from ((part, intent, text) for text in draw.sample(texts, count))
