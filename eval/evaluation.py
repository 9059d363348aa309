"""An evaluation from codecs and audio to files: what `codec eval` does."""

import platform
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ..codecs.files import atomic_path
from .jobs import Cache, run_jobs
from .results import markdown, write_results
from .suite import Findings, Setup, make_suite

Progress = Callable[[str, float], AbstractContextManager[Callable[[float], None]]]


def evaluate(
    setup: Setup,
    suites: Sequence[str],
    folder: Path,
    command: str,
    progress: Progress,
    workers: int = 1,
    devices: Sequence[str] = ("cpu",),
    table: Path | None = None,
) -> dict[str, Any]:
    """Run suites and write results.json, results.csv and report.html after each; return what results.json holds.

    Args:
        setup: what is evaluated on what.
        suites: names, in the order of the report.
        folder: for the files and for the cache, from which a later run into the same folder takes what it needs.
        command: that was typed, for the report.
        progress: label and number of jobs to a context that gives a function to be told of jobs done.
        workers: processes.
        devices: that they take in turn.
        table: Markdown file to write too.

    Raises:
        TonemeError: if a suite is unknown or nothing could be evaluated.
    """
    start, findings, content = time.perf_counter(), dict[str, Findings](), dict[str, Any]()
    setup = replace(setup, device=devices[0])  # on which jobs that run alone do
    made = {name: make_suite(name, setup) for name in suites}
    with closing(Cache(folder / "cache.sqlite")) as cache:
        for name, suite in made.items():
            jobs = suite.jobs()
            with progress(name, len(jobs)) as advance:
                results = run_jobs(jobs, cache, workers, devices, advance)
            more = suite.more_jobs(results)
            with progress(f"{name}: report", len(more)) as advance:
                results |= run_jobs(more, cache, workers, devices, advance)
            findings[name] = suite.find(results)
            about = describe(setup, command, time.perf_counter() - start, workers)
            content = write_results(folder, about, findings)
            if table:
                write_table(table, markdown(findings, about))
    return content


def write_table(path: Path, text: str) -> None:
    """Write a table, so that a full disk leaves the one before; a device or pipe is written to as it is."""
    data = text.encode("utf-8", "backslashreplace")
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    with atomic_path(path.resolve()) as partial:
        partial.write_bytes(data)


def describe(setup: Setup, command: str, seconds: float, workers: int) -> dict[str, Any]:
    """Return how an evaluation was made, in words."""
    domains = [clip.domain or "audio" for clip in setup.tested]
    counts = ", ".join(f"{domains.count(name)} of {name}" for name in dict.fromkeys(domains))
    others = len(setup.clips) - len(setup.tested) + sum(map(len, setup.probes))
    return {
        "command": command,
        "date": time.strftime("%Y-%m-%d"),
        "clips": counts + (f", and {others} for probes and language models to learn from" if others else ""),
        "compared at": f"{setup.sample_rate} Hz",
        "versions": f"toneme {version('toneme')}, torch {torch.__version__}, Python {platform.python_version()}",
        "machine": f"{platform.machine()}, {processor()}, {workers} worker{'s' * (workers != 1)}, "
        f"{seconds:.0f} s for what was not cached",
    }


def processor() -> str:
    """Return the name of the processor, as far as the system tells it."""
    table = Path("/proc/cpuinfo")
    lines = table.read_text().splitlines() if sys.platform == "linux" and table.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"
