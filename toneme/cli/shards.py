"""`codec shards`: finished shards of tokens cut anew, without coding again."""

import json as json_format
from pathlib import Path
from typing import Annotated

import typer

from toneme.cli import options
from toneme.cli.failures import complain
from toneme.cli.files import STANDARD
from toneme.cli.progress import progress

Shards = Annotated[Path, typer.Argument(metavar="SHARDS", help="Folder that `codec tokenize` made.", show_default=False)]
New = Annotated[Path, typer.Option("--output", "-o", metavar="NEW", help="Folder of the new shards.", show_default=False)]
PerShard = Annotated[
    int | None, typer.Option("--files-per-shard", min=1, help="Recordings in a shard.", show_default="up to 1000, 16 shards")
]
Format = Annotated[str | None, typer.Option("--format", help="parquet, webdataset or npz.", show_default="as before")]
DropMissing = Annotated[bool, typer.Option("--drop-missing", help="Leave out recordings that are gone.")]
Root = Annotated[
    Path | None,
    typer.Option("--root", metavar="FOLDER", help="Where the recordings lie now.", show_default="where they were tokenised"),
]


def shards(
    folder: Shards,
    output: New,
    files_per_shard: PerShard = None,
    format: Format = None,  # noqa: A002
    drop_missing: DropMissing = False,
    root: Root = None,
    json: options.Json = False,
) -> None:
    """Cut finished shards anew, from their tokens alone: other sizes, another format, without recordings that are gone.

    The old folder stays as it is, and `codec tokenize` goes on with the new one. The same command goes on where a stopped one
    ended.
    """
    if STANDARD in (folder, output):
        raise typer.BadParameter("shards lie in folders: - is none")
    from toneme.lm.shard_formats import SUFFIXES

    if format is not None and format not in SUFFIXES:
        raise typer.BadParameter(f"shards are written as {', '.join(SUFFIXES)}; got {format!r}")
    from toneme.lm.shard_repack import repack

    done = repack(
        folder, output, files_per_shard, format, drop_missing, root,
        watch=lambda recordings: progress("writing", recordings, "files"),
    )  # fmt: skip
    if json:
        print(json_format.dumps({"output": str(output), **done}))
        return
    print(
        f"{output}: {done['items']} recordings, {done['seconds'] / 3600:.2f} h, {done['shards']} shards, "
        f"{done['bytes'] / 1e6:.1f} MB of {done['codec']}, {done['codebooks']} codebooks"
    )
    if done["dropped"]:
        complain(f"{len(done['dropped'])} recordings that are gone were left out")
