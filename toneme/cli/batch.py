"""Running a command over its inputs: one failure ends a single run, and is listed at the end of a batch."""

import json
import sys
from collections.abc import Callable
from typing import Any

import typer

from toneme.cli.failures import complain, debugging, explain
from toneme.cli.files import STANDARD, Job

Work = Callable[[Job], dict[str, Any]]


def run_jobs(jobs: list[Job], work: Work, batch: bool, as_json: bool, line: Callable[[dict[str, Any]], str]) -> None:
    """Do `work` for each job and say what came of it.

    Args:
        jobs: inputs and outputs.
        work: returns figures in plain JSON types.
        batch: go on after a failure, list failures at the end, and exit with 1 if there were any.
        as_json: print JSON on stdout: the figures of a single run, or {"files": [...], "failures": [...]} of a batch.
        line: turns figures into one line for people.
    """
    if as_json and any(job.target == STANDARD for job in jobs):
        raise typer.BadParameter("--json and the result cannot both go to stdout: name a file with -o")
    if not batch:
        done = work(jobs[0])
        if jobs[0].target != STANDARD:
            print(json.dumps(done) if as_json else line(done), flush=True)
        elif sys.stderr.isatty():
            print(line(done), file=sys.stderr)
        return
    done, failures = [], []
    for job in jobs:
        try:
            done.append(work(job))
        except (Exception, MemoryError) as error:
            if debugging():
                raise
            failures.append({"input": str(job.source), "error": explain(error)})
            continue
        if not as_json:
            print(line(done[-1]), flush=True)
    if as_json:
        print(json.dumps({"files": done, "failures": failures}))
    _list_failures(failures, len(jobs))


def _list_failures(failures: list[dict[str, str]], jobs: int) -> None:
    if failures:
        for failure in failures:
            named = failure["input"] in failure["error"]
            complain(failure["error"] if named else f"{failure['input']}: {failure['error']}")
        complain(f"{len(failures)} of {jobs} files failed, as listed above; the others are done")
        raise typer.Exit(1)
