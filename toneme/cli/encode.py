"""`codec encode`: audio files to token files."""

from pathlib import Path
from typing import Any, BinaryIO, cast

import typer

from toneme.cli import options
from toneme.cli.batch import run_jobs
from toneme.cli.files import AUDIO, STANDARD, TOKENS, Job, check_target, is_batch, make_parent, plan

OTHERS = (AUDIO | TOKENS | {".npy"}) - {".tok"}  # suffixes of what is no `.tok` file


def encode(
    inputs: options.Inputs,
    output: options.Output = None,
    codec: options.CodecName = "default",
    codebooks: options.Codebooks = None,
    bitrate: options.Bitrate = None,
    beam: options.Beam = None,
    device: options.Device = "auto",
    backend: options.Backend = "auto",
    packed: options.Packed = False,
    salvage: options.Salvage = False,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Encode audio to tokens.

    Without -o, the result stands beside the input as NAME.tok. A folder's tree is mirrored under -o.
    """
    options.check_depth(codebooks, bitrate)
    jobs = plan(inputs, output, ".tok", AUDIO)
    from toneme.cli.coding import choose_depth

    model = options.encoder(codec, backend, device, beam)
    depth = choose_depth(model, codebooks, bitrate)
    run_jobs(jobs, lambda job: encode_file(model, job, depth, salvage, force, packed), is_batch(inputs), json, describe)


def _check_suffix(target: Path) -> None:
    """Raise a usage error where a file would be named as what it is not."""
    if (suffix := target.suffix.lower()) in OTHERS:
        raise typer.BadParameter(
            f"encode writes .tok files, and {target.name} would not be what {suffix} says: name it .tok; "
            "toneme.read_tokens(NAME).save(OTHER) makes .npz, .npy, .safetensors and .ecdc of one"
        )


def encode_file(model: Any, job: Job, codebooks: int, salvage: bool, force: bool, packed: bool = False) -> dict[str, Any]:
    """Encode one file and return its figures."""
    from toneme.cli.coding import Audio, Clock, CountingSink, encode_blocks, note_clipping, open_sink, summary
    from toneme.codecs.tokenfile import TokenWriter

    check_target(job, force)
    if job.named:
        _check_suffix(job.target)
    make_parent(job.target)
    clock, audio = Clock(), Audio(job.source, model, salvage)
    with open_sink(job.target) as sink:
        counted = None if isinstance(sink, Path) else CountingSink(sink)
        with TokenWriter(cast(BinaryIO, counted or sink), encoding="packed" if packed else "entropy") as writer:
            for piece in encode_blocks(model, audio, codebooks):
                writer.write(piece)
    n_bytes = counted.n_bytes if counted else job.target.stat().st_size
    note_clipping(audio)
    return {"input": str(job.source), "output": str(job.target)} | summary(model, codebooks, audio.n_samples, n_bytes, clock)


def describe(done: dict[str, Any]) -> str:
    """Return one line about an encoded file."""
    target = "stdout" if done["output"] == str(STANDARD) else done["output"]
    return (
        f"{done['input']} -> {target}: {done['seconds']:.2f} s, {done['bytes']} bytes, {done['kbps']:.2f} kbps, "
        f"{done['codebooks']} codebooks of {done['codec']}, {done['realtime_factor']:.1f} x real time"
    )
