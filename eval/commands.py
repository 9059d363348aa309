"""Codecs that are shell commands: files in, files out, their rate that of what they wrote."""

import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor

from ..codecs.audio import read_audio, write_audio
from ..codecs.errors import AudioError, TonemeError
from ..codecs.files import sha256_of
from .systems import About, Rebuilt, System

resource: Any = import_module("resource") if find_spec("resource") else None  # Windows does not tell what programs took
PLACES = re.compile(r"\{(kbps|in|out|wav)\}")
HEAD = re.compile(r"^(?P<name>[\w.+-]+)(@(?P<rates>[\d.,]+))?:\s+(?P<command>.+)$", re.DOTALL)
LONGEST = 600.0  # seconds for one clip


class CommandError(TonemeError):
    """A shell command failed, or did not write what it was to write."""


@dataclass(frozen=True)
class CommandSystem(System):
    """A shell command at one rate.

    The places {kbps}, {in} (a 16-bit WAV to read), {out} (the code to write) and {wav} (the WAV to write) are filled in, quoted
    for the shell; a suffix may follow a place ({out}.mp3). The rate is that of all files whose names begin as {out} does; of
    Ogg Opus only the packets count.
    """

    name: str
    label: str
    identity: str
    about: About
    command: str
    kbps: float | None

    def rebuild(self, waveform: Tensor, sample_rate: int, device: str) -> Rebuilt:
        """Run the command on a clip [time].

        Raises:
            CommandError: if it fails or writes no audio.
        """
        with tempfile.TemporaryDirectory(prefix="codec-eval-") as folder:
            source, coded, wav = (Path(folder) / name for name in ("in.wav", "coded", "decoded.wav"))
            write_audio(source, waveform[None], sample_rate)
            before = _children_seconds()
            run_command(self.fill(source, coded, wav), self.name)
            seconds = _children_seconds() - before
            audio, rate = read_written(wav, self.name)
            sizes = [coded_bytes(file.read_bytes()) for file in sorted(Path(folder).glob("coded*"))]
            return Rebuilt(audio, rate, 8.0 * sum(sizes) if sizes else None, seconds)

    def fill(self, source: Path, coded: Path, wav: Path) -> str:
        """Return the command with its places filled in."""
        places = {"kbps": f"{self.kbps:g}" if self.kbps else "", "in": str(source), "out": str(coded), "wav": str(wav)}
        return PLACES.sub(lambda found: shlex.quote(places[found[1]]), self.command)


def command_systems(text: str, kbps: list[float] | None = None) -> list[CommandSystem]:
    """Return a command at several rates.

    Args:
        text: the command, before which may stand a name, or a name and rates: "opus@6,12: opusenc ...". Without a name it is
            called by its first word.
        kbps: rates where the text names none.

    Raises:
        CommandError: if a place is missing, or there is {kbps} and no rate.
    """
    found = HEAD.match(text.strip())
    command = found["command"] if found else text.strip()
    name = found["name"] if found else Path(command.split(maxsplit=1)[0] if command else "").name
    rates = _rates(found["rates"], name) if found and found["rates"] else kbps
    places = set(PLACES.findall(command))
    for place in ("in", "wav"):
        if place not in places:
            raise CommandError(f"the command {name!r} has no {{{place}}}: say where it reads {{in}} and writes {{wav}}")
    by = f"by {_programs(command)}"
    if "kbps" not in places:
        return [_system(name, command, None, by)]
    if not rates:
        raise CommandError(f"the command {name!r} has {{kbps}} and no rate: give --bitrate, or write '{name}@6,12: ...'")
    return [_system(name, command, rate, by) for rate in rates]


def _system(name: str, command: str, kbps: float | None, by: str) -> CommandSystem:
    label = name if kbps is None else f"{name} {kbps:g}"
    return CommandSystem(name, label, f"{command} at {kbps} {by}", About(nominal_kbps=kbps), command, kbps)


def _programs(command: str) -> str:
    """Return a hash of the programs and files that a command names: what they make is another where one of them changed."""
    try:
        words = shlex.split(command, comments=False)
    except ValueError:  # a quote that is not closed: the shell will say so
        words = command.split()
    names = {word.strip(";&|()<>") for word in words if not PLACES.search(word)}
    files = {os.path.realpath(shutil.which(name) or name) for name in names if name}
    known = (sha256_of(file) for file in sorted(files) if os.path.isfile(file) and os.access(file, os.R_OK))
    return hashlib.sha256("".join(known).encode()).hexdigest()[:16]


def _rates(text: str, name: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",") if part]
    except ValueError:
        raise CommandError(f"the rates {text!r} of {name} are no numbers of kbps: write '{name}@6,12: ...'") from None


def run_command(command: str, name: str) -> None:
    """Run a command by the shell.

    Raises:
        CommandError: if it cannot be run, fails, or takes over ten minutes.
    """
    nothing = subprocess.DEVNULL
    with subprocess.Popen(
        command, shell=True, start_new_session=True, stdin=nothing, stdout=nothing, stderr=subprocess.PIPE
    ) as process:
        try:
            said = process.communicate(timeout=LONGEST)[1].decode(errors="replace").strip().splitlines()
        except BaseException as error:
            _end(process)
            if isinstance(error, subprocess.TimeoutExpired):
                raise CommandError(
                    f"the command {name!r} was stopped after {LONGEST:g} s on a clip: give shorter ones"
                ) from None
            raise
    if process.returncode:
        raise CommandError(
            f"the command {name!r} failed with status {process.returncode} ({said[-1][:200] if said else 'it said nothing'}): "
            "run it by hand on a WAV to see why"
        )


def _end(process: subprocess.Popen) -> None:
    """End a shell and what it started, which its own end would leave at work."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def read_written(wav: Path, name: str) -> tuple[Tensor, int]:
    """Return the audio [time] that a command wrote to {wav}, and its rate in Hz.

    Raises:
        CommandError: if there is none.
    """
    if not wav.is_file():
        raise CommandError(f"the command {name!r} wrote no {{wav}}: make it write its audio there")
    try:
        audio, rate = read_audio(wav)
    except AudioError as error:
        raise CommandError(f"the command {name!r} wrote no audio that can be read to {{wav}} ({error})") from None
    if not audio.shape[-1]:
        raise CommandError(f"the command {name!r} wrote no samples to {{wav}}: make it write its audio there")
    return audio.mean(0), rate


def coded_bytes(file: bytes) -> int:
    """Return how many bytes of a file count: all, but of Ogg Opus only the packets behind the two header pages."""
    if not (file.startswith(b"OggS") and b"OpusHead" in file[:64]):
        return len(file)
    at, pages = 0, []
    while at + 27 < len(file):
        segments = file[at + 27 : at + 27 + file[at + 26]]
        pages.append(sum(segments))
        at += 27 + len(segments) + sum(segments)
    return sum(pages[2:])


def _children_seconds() -> float:
    """Return the processor's time of all programs that have ended; zero where that cannot be told."""
    if resource is None:
        return 0.0
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
