"""`codec roundtrip`: encode and decode in one go, and say what it cost and what is left."""

import math
import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, cast

import typer

from toneme.cli import options
from toneme.cli.batch import run_jobs
from toneme.cli.files import AUDIO, Job, check_target, is_batch, make_parent, plan

if TYPE_CHECKING:
    import numpy as np

    from toneme.codecs.pieces import Piece

NOWHERE = Path(os.devnull)
Target = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Audio file to write, or a folder for several inputs.", show_default="only measure"),
]


def roundtrip(
    inputs: options.Inputs,
    output: Target = None,
    codec: options.CodecName = "default",
    codebooks: options.Codebooks = None,
    bitrate: options.Bitrate = None,
    beam: options.Beam = None,
    bits: options.Bits = "16",
    device: options.Device = "auto",
    backend: options.Backend = "auto",
    salvage: options.Salvage = False,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Encode and decode audio, and measure: kbps, speed, SI-SDR at the codec's rate.

    Without -o nothing is written.
    """
    options.check_depth(codebooks, bitrate)
    subtype = options.subtype_of(bits)
    jobs = plan(inputs, output, ".wav", AUDIO)
    if output is None:
        jobs = [Job(job.source, NOWHERE, named=True) for job in jobs]
    from toneme.cli.coding import choose_depth

    model = options.encoder(codec, backend, device, beam)
    depth = choose_depth(model, codebooks, bitrate)
    run_jobs(jobs, lambda job: roundtrip_file(model, job, depth, subtype, salvage, force), is_batch(inputs), json, describe)


def roundtrip_file(model: Any, job: Job, codebooks: int, subtype: str, salvage: bool, force: bool) -> dict[str, Any]:
    """Encode and decode one file piece by piece and return its figures."""
    from toneme.cli.coding import (
        Audio,
        Clock,
        CountingSink,
        decode_pieces,
        encode_blocks,
        note_clipped_output,
        note_clipping,
        summary,
    )
    from toneme.codecs.audio_writing import AudioWriter
    from toneme.codecs.tokenfile import TokenWriter

    check_target(job, force)
    make_parent(job.target)
    clock, ratio, sink = Clock(), Ratio(), CountingSink()
    audio = Audio(job.source, model, salvage, seen=ratio.take_target)
    spec, ended = model.spec, []

    def pieces(writer: TokenWriter) -> Iterator["Piece"]:
        for piece in encode_blocks(model, audio, codebooks):
            writer.write(piece)
            yield piece
        ended.append(audio.n_samples)

    target = None if job.target == NOWHERE else str(job.target)
    writer = AudioWriter(target, spec.sample_rate, spec.channels, subtype) if target else None
    with writer or nullcontext(), TokenWriter(cast(BinaryIO, sink)) as tok:
        for block in decode_pieces(model, pieces(tok), lambda: ended[0] if ended else None):
            ratio.take_estimate(block)
            if writer:
                writer.write(block)
    note_clipping(audio)
    note_clipped_output(job.target, writer.clipped if writer else 0)
    figures = summary(model, codebooks, audio.n_samples, sink.n_bytes, clock)
    return {"input": str(job.source), "output": target} | figures | {"si_sdr": ratio.decibels()}


class Ratio:
    """SI-SDR of streams that come in blocks and not in step: sums in float64, means removed at the end.

    Source: Le Roux et al., "SDR - half-baked or well done?", 2019, equation 5; channels are joined into one signal.
    """

    def __init__(self) -> None:
        self._waiting: list[np.ndarray] = []
        self._sums = [0.0] * 6

    def take_target(self, block: "np.ndarray") -> None:
        """Take the next of the original, [channels, n]."""
        self._waiting.append(block)

    def take_estimate(self, block: "np.ndarray") -> None:
        """Take the next of what was decoded, [channels, n]; never ahead of the original."""
        import numpy as np

        joined = np.concatenate(self._waiting, axis=-1)
        n = block.shape[-1]
        target, self._waiting = joined[:, :n].astype(np.float64), [joined[:, n:]]
        estimate = block.astype(np.float64)
        products = [target * target, target * estimate, estimate * estimate, target, estimate, np.ones_like(target)]
        self._sums = [total + float(product.sum()) for total, product in zip(self._sums, products, strict=True)]

    def decibels(self) -> float | None:
        """Return the ratio in dB, None where it is undefined or infinite."""
        tt, te, ee, t, e, n = self._sums
        if not n:
            return None
        tt, te, ee = tt - t * t / n, te - t * e / n, ee - e * e / n
        if tt <= 0:
            return None
        wanted = te * te / tt
        unwanted = ee - wanted
        return round(10 * math.log10(wanted / unwanted), 4) if wanted > 0 and unwanted > 0 else None


def describe(done: dict[str, Any]) -> str:
    """Return one line about a coded and decoded file."""
    target = f" -> {done['output']}" if done["output"] else ""
    sdr = "undefined" if done["si_sdr"] is None else f"{done['si_sdr']:.2f} dB"
    return (
        f"{done['input']}{target}: {done['seconds']:.2f} s, {done['kbps']:.2f} kbps, SI-SDR {sdr}, "
        f"{done['realtime_factor']:.1f} x real time by {done['codec']}"
    )
