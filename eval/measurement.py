"""How fast a system is and how much memory it takes, measured in a process of its own."""

import contextlib
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..codecs.errors import TonemeError
from .clips import Clip
from .commands import CommandSystem, resource
from .jobs import Job, Results
from .systems import System

SECONDS, ROUNDS = 10.0, 2
STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class MeasureJob(Job):
    """Speed and peak memory of the systems of one codec, on ten seconds made of a clip, repeated where it is shorter.

    Attributes:
        clips: of which the first that can be read is taken.
        on: the device that it is for, the first of those that take the jobs.
    """

    systems: tuple[System, ...]
    clips: tuple[Clip, ...]
    on: str = "cpu"
    alone: bool = True

    @property
    def keys(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """One per system, on this machine and kind of device."""
        return tuple(_key(system, self.on) for system in self.systems)

    def run(self, wanted: frozenset[str], device: str) -> Results:
        """Code the ten seconds twice by each system; the faster counts."""
        waveform, rate = self._first()
        audio = waveform.repeat(int(SECONDS * rate) // len(waveform) + 1)[: int(SECONDS * rate)]
        asked = {key: system for key, system in zip(self.keys, self.systems, strict=True) if key in wanted}
        found = {key: self._measure(system, audio, rate, device) for key, system in asked.items()}
        for key, system in asked.items():
            if "error" not in found[key]:
                found[key]["peak_mb"] = _peak(system, audio, rate, device)
        return found

    def _first(self) -> tuple[Tensor, int]:
        """Return the first clip that can be read; where there is none, the last one's error."""
        for clip in self.clips[:-1]:
            with contextlib.suppress(TonemeError):
                return clip.read()
        return self.clips[-1].read()

    def _measure(self, system: System, audio: Tensor, rate: int, device: str) -> dict[str, Any]:
        try:
            runs = [system.rebuild(audio, rate, device) for _ in range(ROUNDS)]
        except TonemeError as error:
            return {"error": str(error)}
        best = min(runs, key=lambda run: run.seconds)
        return {
            "encode_realtime": _times(best.encode_seconds), "decode_realtime": _times(best.decode_seconds),
            "realtime_factor": _times(best.seconds),
        }  # fmt: skip


def measure_jobs(systems: Sequence[System], clips: Sequence[Clip], device: str) -> list[Job]:
    """Return the measurements of systems that can be measured, on a device, those of one codec in one process."""
    groups: dict[str, list[System]] = {}
    for system in (system for system in systems if system.codes_anything):
        groups.setdefault(getattr(system, "source", system.label), []).append(system)
    return [MeasureJob(tuple(group), tuple(clips), device) for group in groups.values()]


def facts_of(system: System, results: Results, device: str) -> dict[str, Any]:
    """Return all that is known of a system: what it says of itself and what was measured on a device."""
    measured = results.get(_key(system, device), {})
    names = ("encode_realtime", "decode_realtime", "realtime_factor", "peak_mb")
    figures = {name: measured.get(name) for name in names}
    kind = _kind(device) if any(figures.values()) else None
    return {"codec": system.name} | system.about.to_dict() | figures | {"measured_on": kind}


def _key(system: System, device: str) -> str:
    kind = _kind(device)
    about = f" {kind} 2" if kind != "cpu" else ""  # 2: peaks are of the card's memory
    return f"measured|{system.identity}|{platform.node()} {platform.machine()}{about}"


def _kind(device: str) -> str:
    return device.split(":")[0]  # the cards of a machine are taken for equals


def _times(seconds: float | None) -> float | None:
    return round(SECONDS / seconds, 2) if seconds else None


def _peak(system: System, audio: Tensor, rate: int, device: str) -> float | None:
    if isinstance(system, CommandSystem):
        return _command_peak(system, audio, rate) if resource else None
    if _kind(device) == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    if STATUS.exists():  # getrusage would also count the memory of the parent, from before this process was itself
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return round(int(line.split()[1]) / 1024, 1)
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


WATCH = "import resource, subprocess as s, sys; \
s.run(sys.argv[1], shell=True, stdin=s.DEVNULL, stdout=s.DEVNULL, stderr=s.DEVNULL); \
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"


def _command_peak(system: CommandSystem, audio: Tensor, rate: int) -> float | None:
    """Return the peak of a command's processes, watched by a small process, below whose own 10 MB nothing can be told."""
    import tempfile

    from ..codecs.audio import write_audio

    with tempfile.TemporaryDirectory(prefix="codec-eval-") as folder:
        places = [Path(folder) / name for name in ("in.wav", "coded", "decoded.wav")]
        write_audio(places[0], audio[None], rate)
        command = [sys.executable, "-I", "-S", "-c", WATCH, system.fill(*places)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return round(int(done.stdout.split()[-1]) / (2**20 if sys.platform == "darwin" else 2**10), 1)
