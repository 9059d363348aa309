"""`codec export`: a codec to a folder of ONNX graphs that needs no torch."""

from pathlib import Path
from typing import Annotated

import typer

from toneme.cli import options

Codec = Annotated[
    str,
    typer.Argument(
        metavar="CODEC",
        help="A name, a codec's folder, or hf://org/name.",
        autocompletion=options.complete_codec,
        show_default=False,
    ),
]
Folder = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="DIR", show_default="kept, for encode, decode and stream to use", help="Folder to make."
    ),
]
Half = Annotated[bool, typer.Option("--half", help="Store the decoder's weights in 16 bits though that rounds them.")]
Int8 = Annotated[bool, typer.Option("--int8", help="Multiply in 8 bits in each direction where that is near and faster.")]
Int8Decoder = Annotated[
    bool, typer.Option("--int8-decoder", help="The same in the decoder alone: codes stay those of 32 bits.")
]


def export(
    codec: Codec,
    output: Folder = None,
    codebooks: options.Codebooks = None,
    half: Half = False,
    int8: Int8 = False,
    int8_decoder: Int8Decoder = False,
    force: options.ForceFolder = False,
    json: options.Json = False,
) -> None:
    """Export a codec to ONNX: encoder.onnx, decoder.onnx, codec.json and golden.npz.

    Weights of large codecs and of those that work in chunks lie beside the graphs, in encoder.data and decoder.data.

    Without -o it is kept in the cache, where encode, decode and stream find it by themselves and run faster with it.
    """
    from toneme.export.manifest import DIRECTIONS, read_manifest

    integers = DIRECTIONS if int8 else ("decoder",) if int8_decoder else ()
    if output is None and (half or integers or codebooks):
        raise typer.BadParameter(
            "--half, --int8, --int8-decoder and --codebooks make another codec than the one that is kept: name a folder with -o"
        )
    from toneme.codecs.registry import load
    from toneme.export.cache import place
    from toneme.export.folder import export_codec

    if output is not None:
        check_free(output, force)
    model = load(codec)
    if output is None:
        output = place(model)
        check_free(output, force)
    found = export_codec(model, output, codebooks, half, integers)
    tried = read_manifest(output).options.get("int8", {})
    size = sum(path.stat().st_size for path in output.iterdir())
    done = {"codec": model.name, "output": str(output), "bytes": size, "codes_equal": found.equal, "largest_error": found.error}
    done |= {"int8": tried} if integers else {}
    if json:
        from json import dumps

        print(dumps(done))
        return
    print(
        f"{model.name} -> {output}: {size / 1e6:.1f} MB, {found.equal:.2%} of the golden codes equal, "
        f"samples within {found.error:.1e}"
    )
    for side, trial in tried.items():
        near = f"{trial['near']:.1%} of codes equal" if side == "encoder" else f"SNR {trial['near']:.1f} dB"
        kept = "kept" if trial["kept"] else f"left out ({trial['why']})"
        print(f"8 bits in the {side}: {kept}, {trial['speed']:g} times as fast as 32, {near}")


def check_free(folder: Path, force: bool) -> None:
    """Raise CheckpointError where an exported codec cannot be written, or would replace one unasked."""
    from toneme.codecs.errors import CheckpointError
    from toneme.export.manifest import FILE

    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"{folder} is a file, and an exported codec is a folder: name another with -o")
    if (folder / "config.json").exists():
        raise CheckpointError(f"{folder} holds the weights of a codec, which an exported one would hide: name another with -o")
    if (folder / FILE).exists() and not force:
        raise CheckpointError(f"{folder} holds an exported codec already: name another folder, or replace it with --force")
