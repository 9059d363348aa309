"""`codec eval`: how good codecs are, on the same audio, with a report that stands alone."""

import json as json_format
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from toneme.cli import options
from toneme.cli.failures import complain
from toneme.cli.files import AUDIO
from toneme.cli.progress import progress

Codecs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[CODEC]...", help="Names, codec folders, hf://org/name, or folders of decoded audio ('NAME@KBPS: FOLDER').",
        show_default=False,
        autocompletion=options.complete_codec,
    ),
]  # fmt: skip
Command = Annotated[
    list[str] | None,
    typer.Option(
        "--command", help="A shell command with {kbps}, {in}, {out} and {wav}; 'NAME@6,12: ' before it names it and its rates.",
        show_default=False,
    ),
]  # fmt: skip
Data = Annotated[
    Path, typer.Option("--data", "-d", help="Folder of audio; folders speech, music, environment in it say what it is.")
]
Probes = Annotated[
    list[Path] | None,
    typer.Option("--probes", help="Another folder with tasks in probes/*.csv, for the suite downstream.", show_default=False),
]
Report = Annotated[Path, typer.Option("--output", "-o", help="Folder for report.html, results.json, results.csv, cache.")]
Rates = Annotated[str | None, typer.Option("--bitrate", "-b", help="Highest nominal rates in kbps, such as 1.5,3,6.")]
Depths = Annotated[
    str | None,
    typer.Option("--codebooks", "-n", help="Numbers of codebooks, such as 1,2,4, or all.", show_default="powers of two"),
]
Beam = Annotated[
    int, typer.Option("--beam", min=1, help="Reconstruct with this beam too, with codecs that can encode so: 16, say.")
]
Suites = Annotated[str, typer.Option("--suite", help="One or several of reconstruction,tokens,downstream,language.")]
Metrics = Annotated[str | None, typer.Option("--metrics", help="Names of metrics, such as pesq_wb,stoi.", show_default="all")]
Rate = Annotated[int, typer.Option("--rate", min=8000, max=192_000, help="Hz at which estimates and targets are compared.")]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit", min=1, help="Take so many clips, evenly spread; of train, eval and probes each.", show_default="all"
    ),
]
Seconds = Annotated[float | None, typer.Option("--seconds", min=0.1, help="Take so much of each clip.", show_default="all")]
Workers = Annotated[int | None, typer.Option("--workers", "-j", min=1, help="Processes.", show_default="the processor's cores")]
Devices = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, or several such as cuda:0,cuda:1.")]
Examples = Annotated[int, typer.Option("--examples", min=0, max=10, help="Clips of each kind that the report plays.")]
MarkdownFile = Annotated[Path | None, typer.Option("--markdown", help="Write the tables to this file too.", show_default=False)]


def eval_(
    codecs: Codecs = None,
    data: Data = Path("."),
    probes: Probes = None,
    output: Report = Path("report"),
    command: Command = None,
    bitrate: Rates = None,
    codebooks: Depths = None,
    beam: Beam = 1,
    suite: Suites = "reconstruction",
    metrics: Metrics = None,
    rate: Rate = 24000,
    limit: Limit = None,
    seconds: Seconds = None,
    workers: Workers = None,
    device: Devices = "auto",
    examples: Examples = 1,
    markdown: MarkdownFile = None,
    json: options.Json = False,
) -> None:
    """Evaluate codecs and shell commands on the same audio and write a report.

    What was computed is kept in the output folder: a stopped run goes on where it was, and a new codec costs only itself.
    """
    if not codecs and not command:
        raise typer.BadParameter("name a codec, or a command with --command")
    if bitrate and codebooks:
        raise typer.BadParameter("give either --codebooks or --bitrate, not both")
    if probes and "downstream" not in suite.split(","):
        raise typer.BadParameter("--probes is for the suite downstream: ask for it with --suite")
    rates, depths = numbers(bitrate, float, "--bitrate"), None if codebooks == "all" else numbers(codebooks, int, "--codebooks")
    from toneme.codecs.errors import TonemeError

    if output.exists() and not output.is_dir():
        raise TonemeError(f"{output} is a file: name a folder with -o")
    if markdown and not (markdown.parent.is_dir() and not markdown.is_dir() and os.access(markdown.parent, os.W_OK)):
        raise TonemeError(f"{markdown} cannot be written: name a file in a folder that is there with --markdown")
    from toneme.codecs.registry import pick_device
    from toneme.eval.clips import find_clips
    from toneme.eval.evaluation import evaluate
    from toneme.eval.metrics import pick_metrics
    from toneme.eval.suite import Setup

    names = tuple(pick_metrics(metrics.split(","))) if metrics else None
    systems, absent = find_systems(codecs or [], command or [], depths, rates, codebooks == "all", beam)
    clips = find_clips(data, AUDIO, limit, seconds)
    others = tuple(tuple(find_clips(folder, AUDIO, limit, seconds)) for folder in probes or [])
    setup = Setup(tuple(systems), tuple(clips), rate, names, examples, absent, probes=others)
    content = evaluate(
        setup, suite.split(","), output, "codec " + shlex.join(sys.argv[1:]) if sys.argv[1:] else "codec eval", progress,
        workers or cores(), [pick_device(name) for name in device.split(",")], markdown,
    )  # fmt: skip
    finish(content, output, json)


def find_systems(
    codecs: list[str], commands: list[str], depths: Any, rates: Any, every: bool, beam: int = 1
) -> tuple[list[Any], dict[str, str]]:
    """Return all systems, and why those cannot be had whose weights are elsewhere; two of one label are a usage error."""
    from toneme.codecs.errors import TonemeError
    from toneme.eval.commands import command_systems
    from toneme.eval.decoded import decoded_folder
    from toneme.eval.systems import codec_systems, is_elsewhere, tell_apart

    if every:
        depths = list(range(1, 1025))
    systems: list[Any] = []
    absent: dict[str, str] = {}
    for name in codecs:
        if decoded := decoded_folder(name, AUDIO):
            systems.append(decoded)
            continue
        try:
            systems += codec_systems(name, depths, rates, beam)
        except TonemeError as error:
            if not is_elsewhere(name):
                raise
            absent[name] = f"weights not available ({error})"
    systems += [system for text in commands for system in command_systems(text, rates)]
    if absent and not systems:
        raise TonemeError(next(iter(absent.values())))
    systems = tell_apart(systems)
    labels = [system.label for system in systems]
    doubled = [label for label in labels if labels.count(label) > 1]
    if doubled:
        raise typer.BadParameter(f"two systems are called {doubled[0]}: write 'NAME: ' before a command or folder")
    if not systems:
        raise typer.BadParameter("no codec has a rate or depth that was asked for: ask for others")
    return systems, absent


def numbers(text: str | None, kind: type, option: str) -> Any:
    """Return the positive numbers of a list with commas, None for None; others are a usage error."""
    if text is None:
        return None
    try:
        values = [kind(part) for part in text.split(",") if part.strip()]
    except ValueError:
        values = []
    if not values or not all(0 < value < float("inf") for value in values):
        raise typer.BadParameter(f"{option} takes positive numbers with commas between them; got {text!r}")
    return values


def cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def finish(content: dict[str, Any], output: Path, as_json: bool) -> None:
    """Say what came out; exit with 1 where no figure could be had."""
    figures = [row for row in content["rows"] if row["mean"] is not None]
    apart = {row["suite"] for row in content["rows"] if row["domain"] != "all" and row["metric"]}  # "all" would count twice
    failures = sum(row["failures"] or 0 for row in content["rows"] if row["domain"] != "all" or row["suite"] not in apart)
    if as_json:
        print(json_format.dumps(content))
    else:
        print(f"{len(figures)} figures in {output / 'report.html'}, {output / 'results.csv'} and {output / 'results.json'}")
    if failures and figures:
        complain(f"warning: {failures} values could not be computed; the report lists them")
    if not figures:
        reasons = [row["note"] for row in content["rows"] if row["note"]]
        lists = [d for detail in content["details"].values() for d in [*detail.get("clips", []), detail]]
        failed = [why for d in lists for why in d.get("failures", {}).values()]
        complain(f"nothing could be evaluated: {(failed or reasons or ['no metric fits these clips'])[0]}")
        raise typer.Exit(1)
