"""What a suite is: jobs, and what is told of their results. Suites by name; each is imported when it is asked for.

A new suite is a class in a file of its own and a line in SUITES.
"""

import importlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..codecs.errors import ShapeError
from .clips import Clip
from .jobs import Job, Results
from .summary import Summary
from .systems import CodecSystem, System

SUITES = {
    "reconstruction": (".reconstruction", "Reconstruction"),
    "tokens": (".token_statistics", "TokenStatistics"),
    "downstream": (".probes.downstream", "Downstream"),
    "language": (".probes.language", "Language"),
}


@dataclass(frozen=True)
class Setup:
    """What is evaluated on what.

    Attributes:
        systems: codecs at their depths, and commands.
        clips: audio.
        probes: clips of other data folders, one sequence each, of which only the suite downstream takes tasks.
        sample_rate: Hz, at which estimates and targets are compared.
        metrics: names, None for all.
        examples: how many clips of each domain the report plays.
        absent: why others cannot be evaluated, in a sentence, by name.
        device: on which speed and memory are measured, set by `evaluate`.
    """

    systems: tuple[System, ...]
    clips: tuple[Clip, ...]
    sample_rate: int = 24000
    metrics: tuple[str, ...] | None = None
    examples: int = 1
    absent: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    probes: tuple[tuple[Clip, ...], ...] = ()

    @property
    def tested(self) -> tuple[Clip, ...]:
        """The clips of the split eval, all where there is none: what is not there to learn from."""
        return tuple(clip for clip in self.clips if clip.split == "eval") or self.clips


@dataclass(frozen=True)
class Row:
    """One figure of one system: a line of results.csv.

    Attributes:
        suite, system, domain: where it belongs; the domain is "all" for all clips.
        metric, label, unit, better, version: of the metric.
        summary: None where there is no value; the note says why.
        facts: of the system: kbps, tokens_per_second, frame_rate, latency_ms, realtime_factor, peak_mb, parameters and more.
        note: why there is no value, or what else must be said.
        failures: how many clips failed, where there is no summary that counts them.
    """

    suite: str
    system: str
    domain: str
    metric: str
    label: str
    unit: str
    better: str
    version: str
    summary: Summary | None
    facts: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    failures: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it flat, plain JSON types."""
        flat = {key: value for key, value in vars(self).items() if key not in ("summary", "facts", "failures")}
        empty = dict.fromkeys(Summary.__dataclass_fields__) | {"failures": self.failures}
        numbers = asdict(self.summary) if self.summary else empty
        return flat | numbers | self.facts


@dataclass(frozen=True)
class Table:
    """A table of the report: text cells, the first column names the line; numbers are set right."""

    head: list[str]
    lines: list[list[str]]


@dataclass(frozen=True)
class Section:
    """A part of the report: a title, words (paragraphs, and points that begin with "- "), tables, and ready HTML after them."""

    title: str
    text: str = ""
    tables: tuple[Table, ...] = ()
    html: str = ""


@dataclass(frozen=True)
class Findings:
    """What a suite found.

    Attributes:
        rows: for results.csv and results.json.
        sections: for report.html.
        details: more for results.json, by name (values of every clip, failures).
    """

    rows: list[Row]
    sections: list[Section]
    details: dict[str, Any]


class Suite(ABC):
    """One kind of evaluation."""

    name: str
    takes_tokens = False  # so that commands and folders of audio are not for it

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.absent = dict(setup.absent)
        if self.takes_tokens:
            others = [system.name for system in setup.systems if not isinstance(system, CodecSystem)]
            self.absent |= dict.fromkeys(others, f"no tokens (the suite {self.name} takes codecs alone)")

    @abstractmethod
    def jobs(self) -> list[Job]:
        """Return the work to be done."""

    def more_jobs(self, results: Results) -> list[Job]:
        """Return work that depends on the results of the first."""
        return []

    def absent_rows(self) -> list[Row]:
        """Return a row for each system that cannot be evaluated, which says why."""
        return [
            Row(self.name, name, "all", "", "", "", "", "", None, {"codec": name}, why) for name, why in self.absent.items()
        ]

    def absent_lines(self, columns: int) -> list[list[str]]:
        """Return a line for each of them, for a table of so many columns whose second says why in a few words."""
        return [[name, why.split(" (")[0], *["-"] * (columns - 2)] for name, why in self.absent.items()]

    @abstractmethod
    def find(self, results: Results) -> Findings:
        """Return what the results of all jobs say."""


def make_suite(name: str, setup: Setup) -> Suite:
    """Return a suite by its name.

    Raises:
        ShapeError: if there is none of this name.
    """
    if name not in SUITES:
        raise ShapeError(f"no suite is called {name!r}: the known ones are {', '.join(SUITES)}")
    module, kind = SUITES[name]
    return getattr(importlib.import_module(module, __package__), kind)(setup)


def words_of(doc: str | None) -> str:
    """Return what a module's docstring says after its first paragraph, each paragraph and each point on one line."""
    blocks = [re.split(r"\n(?=- )", block.strip()) for block in (doc or "").partition("\n\n")[2].split("\n\n")]
    return "\n\n".join("\n".join(" ".join(line.split()) for line in lines) for lines in blocks)


def deepest(systems: Iterable[System]) -> dict[str, CodecSystem]:
    """Return every codec's system with the most codebooks, by its source; fewest first."""
    return {system.source: system for system in plain_codecs(systems)}


def plain_codecs(systems: Iterable[System]) -> list[CodecSystem]:
    """Return the codecs without a beam, whose codes of fewer codebooks are those of more; fewest codebooks first."""
    codecs = (system for system in systems if isinstance(system, CodecSystem) and system.beam == 1)
    return sorted(codecs, key=lambda system: system.codebooks)
