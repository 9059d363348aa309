"""Which files a command reads and writes: files, folders with all below them, `-`, and where results go.

A name given with -o is written to, whatever stands there; a name that the command makes up never replaces a file unless
--force says so, and an input is never overwritten.
"""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import typer

from toneme.codecs.files import AUDIO as AUDIO
from toneme.codecs.files import files_below

STANDARD = Path("-")
SLASHES = tuple(filter(None, (os.sep, os.altsep)))
TOKENS = frozenset((".tok", ".ecdc", ".dac", ".npz", ".safetensors"))


class Folder(type(Path())):
    """A path that its writer ended with a slash: a folder, though there is none yet."""


def place(name: str) -> Path:
    """Return the path of a name that is given with -o."""
    return Folder(name) if name.endswith(SLASHES) else Path(name)


@dataclass(frozen=True)
class Job:
    """One input, where its result goes, and whether the user named that place."""

    source: Path
    target: Path
    named: bool = False


def plan(inputs: list[Path], output: Path | None, suffix: str, known: Iterable[str]) -> list[Job]:
    """Return a job for each input file.

    Args:
        inputs: files, folders and "-".
        output: the file for one input, the folder for several, or None for beside each input.
        suffix: of results.
        known: suffixes looked for in folders.

    Raises:
        TonemeError: if an input is missing or a folder holds nothing of use.
    """
    if STANDARD in inputs and len(inputs) > 1:
        raise typer.BadParameter("- (stdin) goes alone, without other inputs")
    if inputs == [STANDARD]:
        if isinstance(output, Folder):
            raise typer.BadParameter(f"{output} is a folder, and what comes by - has no name: name a file with -o")
        return [Job(STANDARD, output or STANDARD, named=True)]
    found = [(root, file) for root in inputs for file in _files(root, frozenset(known))]
    if len(inputs) == 1 and not inputs[0].is_dir() and not _is_folder(output):
        source = inputs[0]
        return [Job(source, output or source.with_suffix(suffix), named=output is not None)]
    if output == STANDARD:
        raise typer.BadParameter("-o - (stdout) takes one input; name a folder for several")
    _check_output_folder(output)
    return _unambiguous([(file, _target(root, file, output, len(inputs) > 1)) for root, file in found], suffix)


def is_batch(inputs: list[Path]) -> bool:
    """Return whether the inputs are several or a folder, so that one failure does not end the run."""
    return len(inputs) > 1 or inputs[0].is_dir()


def check_target(job: Job, force: bool) -> None:
    """Raise TonemeError where writing the result would destroy something that the user did not offer."""
    from toneme.codecs.errors import TonemeError

    if job.target == STANDARD:
        return
    if job.target.is_dir():
        raise TonemeError(f"{job.target} is a folder: name a file with -o")
    if not job.target.exists():
        return
    if job.source != STANDARD and job.source.exists() and job.target.samefile(job.source):
        raise TonemeError(f"{job.source} is the input itself: name another file with -o")
    if not job.named and not force:
        raise TonemeError(f"{job.target} exists: name a file with -o, or replace it with --force")


def make_parent(target: Path) -> None:
    """Make the folder that the result goes into."""
    if target != STANDARD:
        target.parent.mkdir(parents=True, exist_ok=True)


def _files(root: Path, known: frozenset[str]) -> list[Path]:
    from toneme.codecs.errors import TonemeError

    if not root.is_dir():
        if not root.exists():
            raise TonemeError(f"{root} does not exist: check the name")
        return [root]
    found = sorted(files_below(root, known, _raise))
    if not found:
        raise TonemeError(f"{root} holds no file to work on: looked for {', '.join(sorted(known))} in it and below")
    return found


def _raise(error: OSError) -> None:
    raise error


def _is_folder(output: Path | None) -> bool:
    return output is not None and (isinstance(output, Folder) or output.is_dir())


def _check_output_folder(output: Path | None) -> None:
    from toneme.codecs.errors import TonemeError

    if output is not None and output.exists() and not output.is_dir():
        raise TonemeError(f"{output} is a file, and several results need a folder: name one with -o")


def _target(root: Path, file: Path, output: Path | None, several: bool) -> Path:
    """Return where a result goes, before its suffix is set: the tree below `root` is mirrored."""
    if output is None:
        return file
    inner = file.relative_to(root) if root != file else Path(file.name)
    return output / (root.resolve().name if several and root != file else "") / inner


def _unambiguous(pairs: list[tuple[Path, Path]], suffix: str) -> list[Job]:
    """Set the suffixes; where two results would have one name, both keep the whole name of their input before it."""
    counts = Counter(target.with_suffix(suffix) for _, target in pairs)

    def rename(target: Path) -> Path:
        short = target.with_suffix(suffix)
        return short if counts[short] == 1 else target.with_name(target.name + suffix)

    jobs = [Job(source, rename(target)) for source, target in pairs]
    if len({job.target for job in jobs}) < len(jobs):
        doubled = Counter(job.target for job in jobs).most_common(1)[0][0]
        raise typer.BadParameter(f"two inputs would both become {doubled}: run them apart")
    return jobs
