"""Voices of a speech synthesizer that is a shell command: espeak-ng, or another one that a user names."""

import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from torch import Tensor

from ...codecs.errors import TonemeError
from ..commands import CommandError, read_written, run_command

ESPEAK = "espeak-ng -v {voice} -s {speed} -p {pitch} -w {wav} {text}"
ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029", "en-us-nyc")
VARIANTS = (  # those of espeak-ng that sound like people of their own: no whispers, robots, or one voice twice
    "f1", "f2", "f3", "f4", "f5", "Alicia", "Andrea", "Annie", "anika", "aunty", "belinda", "steph",
    "m1", "m2", "m3", "m4", "m5", "m7", "Alex", "Gene", "Marco", "Michael", "ed", "quincy",
)  # fmt: skip
PLACES = re.compile(r"\{(voice|text|wav|speed|pitch)\}")
NEEDED = ("voice", "text", "wav")
SPEEDS, PITCHES = (135, 195), (35, 65)  # words per minute; 50 is a voice's own pitch, 0 and 99 the ends
UNSTEADY = 0.05  # share by which a voice's speed and pitch vary from one command to the next


@dataclass(frozen=True)
class Voice:
    """One who speaks.

    Attributes:
        name: as the synthesizer knows the voice.
        speed: words per minute.
        pitch: 0 to 99.
    """

    name: str
    speed: int
    pitch: int


@dataclass(frozen=True)
class Synthesizer:
    """A shell command that speaks; its places {voice}, {text} and {wav}, and {speed} and {pitch} if there, are filled in.

    Raises:
        CommandError: if a place is missing.
    """

    command: str = ESPEAK

    def __post_init__(self) -> None:
        for place in NEEDED:
            if f"{{{place}}}" not in self.command:
                raise CommandError(f"the command that speaks has no {{{place}}}: it takes {{voice}}, {{text}} and {{wav}}")

    def speak(self, text: str, voice: Voice) -> tuple[Tensor, int]:
        """Return speech [time] and its rate in Hz.

        Raises:
            CommandError: if the command fails or writes no audio.
        """
        with tempfile.TemporaryDirectory(prefix="codec-intents-") as folder:
            wav = Path(folder) / "speech.wav"
            places = {"voice": voice.name, "text": text, "wav": wav, "speed": voice.speed, "pitch": voice.pitch}
            name = self.command.split(maxsplit=1)[0]
            run_command(PLACES.sub(lambda found: shlex.quote(str(places[found[1]])), self.command), name)
            return read_written(wav, name)


def draw_voices(names: Sequence[str], draw: Random) -> list[Voice]:
    """Return a voice for each name; espeak-ng's variants, where there is no name, each with an accent."""
    accents = [ACCENTS[i % len(ACCENTS)] for i in range(len(VARIANTS))]
    draw.shuffle(accents)
    own = [f"{accent}+{variant}" for accent, variant in zip(accents, VARIANTS, strict=True)]
    return [Voice(name, draw.randint(*SPEEDS), draw.randint(*PITCHES)) for name in names or own]


def vary(voice: Voice, draw: Random) -> Voice:
    """Return a voice a little faster or slower, higher or lower, as nobody says two things alike."""
    by = [1 + UNSTEADY * (2 * draw.random() - 1) for _ in range(2)]
    return Voice(voice.name, round(voice.speed * by[0]), round(voice.pitch * by[1]))


def check_espeak() -> None:
    """Raise TonemeError where espeak-ng, or a voice of it that is used here, is not on this machine."""
    if shutil.which("espeak-ng") is None:
        raise TonemeError(
            "espeak-ng is not installed: apt-get install espeak-ng, or name another program with --speak and --voices"
        )
    listed = subprocess.run(["espeak-ng", "--voices=variant"], capture_output=True, text=True, check=False).stdout
    there = set(re.findall(r"!v/(\S+)", listed))
    if absent := [variant for variant in VARIANTS if variant not in there]:  # it would speak by another voice and not say so
        raise TonemeError(f"this espeak-ng has no voice {absent[0]}: install version 1.51 or later")
