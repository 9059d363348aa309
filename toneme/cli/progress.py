"""A progress bar on stderr, only where stderr is a terminal."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(label: str, total: float | None, unit: str = "") -> Iterator[Callable[[float], None]]:
    """Yield a function that takes how much more is done, in the unit of `total` (None where the end is unknown).

    Where the unit is named, how much of it is done in a second is shown too.
    """
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()]
    columns += [TextColumn("{task.fields[rate]}")] if unit else []
    start, so_far = time.perf_counter(), 0.0
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total, rate="")

        def advance(done: float) -> None:
            nonlocal so_far
            so_far += done
            bar.update(task, advance=done, rate=f"{so_far / (time.perf_counter() - start):.1f} {unit}/s")

        yield advance
