"""`codec convert`: an official checkpoint to a codec's folder."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from toneme.cli import options

Checkpoint = Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="The official file, as published.", show_default=False)]
Name = Annotated[
    str, typer.Option("--as", metavar="NAME", help="Which official codec it is; `codec list` names them.", show_default=False)
]
Folder = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to make.", show_default=False)]


def convert(checkpoint: Checkpoint, name: Name, output: Folder, force: options.ForceFolder = False) -> None:
    """Convert an official checkpoint to a folder that --codec takes.

    OFFICIAL.md, beside toneme's codecs, says where each is published.
    """
    from toneme.codecs.errors import CheckpointError
    from toneme.codecs.registry import from_official

    if output.exists() and not output.is_dir():
        raise CheckpointError(f"{output} is a file, and a codec is a folder: name another with -o")
    if (output / "config.json").exists() and not force:
        raise CheckpointError(f"{output} holds a codec already: name another folder, or replace it with --force")
    codec = from_official(name, checkpoint)
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".part", dir=output.parent))
    try:
        codec.save(partial)
        output.mkdir(exist_ok=True)
        for file in sorted(partial.iterdir(), reverse=True):  # weights before the config, which makes a folder a codec
            os.replace(file, output / file.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    print(f"{checkpoint} -> {output}: {codec.name}, weights {codec.weights_hash}")
