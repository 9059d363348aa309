"""`codec probe`: whether made recordings are recognised as what they were to be."""

import json as json_format
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from toneme.cli import options
from toneme.cli.files import AUDIO

Made = Annotated[
    Path,
    typer.Argument(metavar="MADE", help="Folder with labels.csv, as codec generate --count writes it.", show_default=False),
]
Data = Annotated[
    Path, typer.Option("--data", "-d", help="A corpus with the folder probes, or that folder: real recordings with labels.")
]
TaskName = Annotated[str, typer.Option("--task", help="The file in probes that says their labels, without .csv.")]
Carrier = Annotated[
    str | None,
    typer.Option(
        "--codec", "-c", help="The codec whose tokens were generated, for what can be expected.", show_default="none",
        autocompletion=options.complete_codec,
    ),
]  # fmt: skip


def probe(
    made: Made,
    data: Data,
    task: TaskName = "digits",
    codec: Carrier = None,
    codebooks: options.Codebooks = None,
    bitrate: options.Bitrate = None,
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Let probes that learned from real recordings say what made ones are.

    With --codec they also say it of real recordings that the codec carried: about what can be expected of its tokens.
    """
    options.check_depth(codebooks, bitrate)
    from toneme.codecs.registry import pick_device
    from toneme.eval.probes.recognition import find_task, read_made, recognise
    from toneme.eval.systems import codec_systems

    recordings = read_made(made)
    system = None
    if codec is not None:
        rates = None if bitrate is None else [bitrate]
        depths = [codebooks] if codebooks is not None else list(range(1, 1025))
        found = codec_systems(codec, depths if rates is None else None, rates)
        if not found:
            raise typer.BadParameter(f"{codec} has no such rate or depth: see `codec info {codec}`")
        system = found[-1]
    rows = recognise(recordings, find_task(data, task, tuple(AUDIO)), system, device=pick_device(device))
    if json:
        print(json_format.dumps([asdict(row) for row in rows]))
        return
    for learned in dict.fromkeys(row.learned for row in rows):
        print(f"A probe that learned from {learned} recognises")
        for row in (row for row in rows if row.learned == learned):
            share = row.share
            print(f"  {share.mean:5.1f} % [{share.low:.1f}, {share.high:.1f}] of {share.clips:4d} {row.heard}")
