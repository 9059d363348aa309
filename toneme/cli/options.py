"""The options that commands share, each said once."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toneme.cli.files import place

if TYPE_CHECKING:
    from toneme.codecs.coder import Coder


def complete_codec(incomplete: str) -> list[str]:
    """Return the packaged codecs whose names begin so; reads folder names only."""
    from toneme.codecs.registry import codec_names

    return [name for name in codec_names() if name.startswith(incomplete)]


Inputs = Annotated[
    list[Path],
    typer.Argument(metavar="IN...", help="A file, several, a folder (with all below it), or - for stdin.", show_default=False),
]
Input = Annotated[Path, typer.Argument(metavar="IN", help="A file, or - for stdin.", show_default=False)]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="File to write, - for stdout, or a folder for several inputs.",
        show_default="beside the input",
        parser=place,
        metavar="PATH",
    ),
]
CodecName = Annotated[
    str,
    typer.Option(
        "--codec", "-c", help="A name, a codec's folder, or hf://org/name, @REVISION may follow.", autocompletion=complete_codec
    ),
]
DecodeCodec = Annotated[
    str | None,
    typer.Option(
        "--codec",
        "-c",
        help="The codec's name, folder or hf:// name.",
        autocompletion=complete_codec,
        show_default="as the file says",
    ),
]
Codebooks = Annotated[
    int | None, typer.Option("--codebooks", "-n", min=1, help="How many codebooks to use.", show_default="all")
]
Bitrate = Annotated[
    float | None,
    typer.Option("--bitrate", "-b", help="Highest nominal rate in kbps, instead of --codebooks.", show_default="all"),
]
Beam = Annotated[
    int | None,
    typer.Option(
        "--beam",
        min=1,
        help="Of residual codebooks: choices kept at each; 16 sounds better, takes longer.",
        show_default="1",
    ),
]
Device = Annotated[str, typer.Option("--device", help="auto (CUDA where there is one), cpu, cuda or cuda:N.")]
Backend = Annotated[
    str,
    typer.Option(
        "--backend",
        help="torch; onnx: an exported folder, or the codec exported once and kept; auto: onnx if kept and faster here.",
    ),
]
ChunkSeconds = Annotated[
    float | None,
    typer.Option(
        "--chunk-seconds",
        help="Audio that a codec which is not causal works on at once: less is sooner, and costs more.",
        show_default="the codec's",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Replace existing files whose names were not given with -o.")]
ForceFolder = Annotated[bool, typer.Option("--force", "-f", help="Replace the codec that the folder holds already.")]
Salvage = Annotated[
    bool, typer.Option("--salvage", help="Take what is whole of a damaged or cut input instead of refusing it.")
]
Packed = Annotated[bool, typer.Option("--packed", help="Write packed chunks only, which simple readers (the page) read.")]
Steps = Annotated[
    int | None, typer.Option("--steps", min=1, help="Of a codec that samples: more take longer.", show_default="the codec's")
]
Guidance = Annotated[
    float | None,
    typer.Option("--guidance", help="Of a codec that samples: how near to the codes.", show_default="the codec's"),
]
Seed = Annotated[int | None, typer.Option("--seed", help="Of a codec that samples: of its noise.", show_default="the codec's")]
AnyWeights = Annotated[bool, typer.Option("--any-weights", help="Decode though other weights made the tokens.")]

Bits = Annotated[str, typer.Option("--bits", help="Samples of lossless output: 16, 24 or float.")]
SUBTYPES = {"16": "PCM_16", "24": "PCM_24", "float": "FLOAT"}


def subtype_of(bits: str) -> str:
    """Return the name that audio writers have for a choice of --bits; others are a usage error."""
    if bits not in SUBTYPES:
        raise typer.BadParameter(f"--bits must be one of {', '.join(SUBTYPES)}; got {bits!r}")
    return SUBTYPES[bits]


def loader(backend: str, device: str, live: bool = False) -> "Callable[[str], Coder]":
    """Return what loads a codec by name for a choice of --backend and --device; others are a usage error.

    An exported folder is loaded without torch.
    """
    if backend not in ("auto", "torch", "onnx"):
        raise typer.BadParameter(f"--backend must be auto, torch or onnx; got {backend!r}")
    if backend == "onnx" and device not in ("auto", "cpu"):
        raise typer.BadParameter(f"--backend onnx runs on the CPU; got --device {device}")

    def pick(name: str) -> "Coder":
        from toneme.export.manifest import is_exported

        if backend == "torch" or not is_exported(name):
            return _torch_coder(name, backend, device, live)
        from toneme.codecs.errors import TonemeError
        from toneme.export.coder import ExportedCoder

        if device not in ("auto", "cpu"):
            raise TonemeError(f"{name} is an exported codec, which runs on the CPU: leave out --device {device}")
        return ExportedCoder(name, 1 if live else processors())  # steps of live audio are too short to be shared

    return pick


def encoder(name: str, backend: str, device: str, beam: int | None) -> "Coder":
    """Return the codec that encodes for a choice of --backend, --device and --beam; kept graphs know no beam."""
    from toneme.export.manifest import is_exported

    itself = backend == "auto" and (beam or 1) > 1 and not is_exported(name)
    model = loader("torch" if itself else backend, device)(name)
    if beam is not None:
        model.set_encode_options(beam=beam)
    return model


def _torch_coder(name: str, backend: str, device: str, live: bool) -> "Coder":
    import torch

    from toneme.codecs.coder import TorchCoder
    from toneme.codecs.registry import load
    from toneme.export.cache import exported, fastest

    if backend == "torch":
        return TorchCoder(load(name, device))
    threads = 1 if live else torch.get_num_threads()
    return TorchCoder(exported(name, threads) if backend == "onnx" else fastest(name, device, threads))


def processors() -> int:
    """Return how many threads one call may use: OMP_NUM_THREADS as with torch, else the processors of this process."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdecimal() and int(wanted):
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_chunk(chunk_seconds: float | None) -> None:
    """Raise a usage error where chunks of no length, or without end, are asked for."""
    if chunk_seconds is not None and not 0 < chunk_seconds < float("inf"):
        raise typer.BadParameter(f"--chunk-seconds must be a number of seconds above 0; got {chunk_seconds:g}")


def check_depth(codebooks: int | None, bitrate: float | None) -> None:
    """Raise a usage error where both ways to say the rate were used, or the rate is none."""
    if codebooks is not None and bitrate is not None:
        raise typer.BadParameter("give either --codebooks or --bitrate, not both")
    if bitrate is not None and not 0 < bitrate < float("inf"):
        raise typer.BadParameter(f"--bitrate must be a positive number of kbps; got {bitrate:g}")
