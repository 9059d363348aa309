"""`codec tokenize`: folders of recordings to shards of tokens for training language models."""

import json as json_format
from pathlib import Path
from typing import Annotated, Any

import typer

from toneme.cli import options
from toneme.cli.failures import complain
from toneme.cli.files import AUDIO, STANDARD, plan
from toneme.cli.progress import progress

Data = Annotated[
    list[Path],
    typer.Argument(metavar="DATA...", help="A folder (with all below it), several, or files.", show_default=False),
]
Shards = Annotated[Path, typer.Option("--output", "-o", metavar="SHARDS", help="Folder of the shards.", show_default=False)]
Format = Annotated[str, typer.Option("--format", help="parquet, webdataset or npz.")]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=0, help="Processes per device; 0 works in this one.", show_default="one per core or GPU"),
]
Devices = Annotated[str, typer.Option("--device", help="auto (all GPUs, else the CPU), cpu, or several: cuda:0,cuda:1.")]
Cluster = Annotated[bool, typer.Option("--cluster", help="Work on the Ray cluster of RAY_ADDRESS, or a local one.")]
Variants = Annotated[
    int, typer.Option("--variants", min=1, help="Items of each recording: itself, and others at other speeds and levels.")
]
PerShard = Annotated[
    int | None,
    typer.Option("--files-per-shard", min=1, help="Recordings in a shard.", show_default="as before, or up to 1000, 16 shards"),
]
DropMissing = Annotated[
    bool, typer.Option("--drop-missing", help="Take out what was made of recordings that are gone; otherwise it stays.")
]


def tokenize_(
    data: Data,
    output: Shards,
    codec: options.CodecName = "default",
    codebooks: options.Codebooks = None,
    bitrate: options.Bitrate = None,
    format: Format = "parquet",  # noqa: A002
    workers: Workers = None,
    device: Devices = "auto",
    cluster: Cluster = False,
    files_per_shard: PerShard = None,
    variants: Variants = 1,
    drop_missing: DropMissing = False,
    salvage: options.Salvage = False,
    json: options.Json = False,
) -> None:
    """Turn recordings into shards of tokens for training language models.

    The same command goes on where a stopped one ended. Files that cannot be read are listed and left out. `codec shards` cuts
    finished shards anew.
    """
    options.check_depth(codebooks, bitrate)
    if STANDARD in data or output == STANDARD:
        raise typer.BadParameter("recordings are files, and shards go into a folder: - is neither")
    from toneme.lm.shard_formats import SUFFIXES

    if format not in SUFFIXES:
        raise typer.BadParameter(f"shards are written as {', '.join(SUFFIXES)}; got {format!r}")
    files = [job.source for one in data for job in plan([one], None, ".tok", AUDIO)]
    from toneme.lm.tokenizing import tokenize

    done = tokenize(
        files, output, codec, codebooks, format, workers, device, cluster, files_per_shard=files_per_shard, salvage=salvage,
        bitrate=bitrate, variants=variants, drop_missing=drop_missing,
        root=data[0] if len(data) == 1 and data[0].is_dir() else None,
        watch=lambda recordings: progress("tokenising", recordings, "files"),
    )  # fmt: skip
    if json:
        print(json_format.dumps({"output": str(output), **done}))
    else:
        print(describe_run(done, output))
        if done["renewed"]:
            complain(f"tokenised again, since their audio is another now: {', '.join(done['renewed'])}")
        if done["dropped"]:
            complain(f"{len(done['dropped'])} recordings that are gone were taken out of the shards")
        for failure in done["failures"]:
            named = failure["path"] in failure["error"]
            complain(f"left out: {failure['error'] if named else failure['path'] + ': ' + failure['error']}")
    if not done["items"]:
        complain(f"none of {len(done['failures'])} files could be tokenised")
        raise typer.Exit(1)


def describe_run(done: dict[str, Any], output: Path) -> str:
    """Return one line about a run."""
    return (
        f"{output}: {done['items']} recordings, {done['seconds'] / 3600:.2f} h, {done['shards']} shards, "
        f"{done['bytes'] / 1e6:.1f} MB of {done['codec']}, {done['codebooks']} codebooks; this run: {done['files']} files, "
        f"{done['files_per_second']:.1f} files/s, {done['realtime_factor']:.1f} x real time"
    )
