"""Mimi against the moshi package: same random weights, same process, alternating runs, medians of each.

Times with one thread are those of the processor, so that neighbours on the machine count less; with more by the wall.

python -P benchmarks/mimi.py [--seconds 10] [--threads 1] [--codebooks 8] [--runs 5] [--graphs FOLDER]

With --graphs ours runs in ONNX Runtime, by graphs that are exported to the folder unless they are there.

moshi compiles parts of itself by default; NO_TORCH_COMPILE=1, which is set here unless you set it, measures its eager code,
as a first call sees it.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

import toneme
from toneme.export.cache import made

FRAME = 1920


def peer(codebooks: int):
    """Return moshi's codec with random weights, its codebooks included."""
    os.environ.setdefault("NO_TORCH_COMPILE", "1")
    from moshi.models import loaders

    torch.manual_seed(0)
    model = loaders.get_mimi(None, num_codebooks=32).eval()
    with torch.no_grad():
        for name, weights in model.state_dict().items():
            if name.endswith("embedding_sum"):
                weights.normal_()
    model.set_num_codebooks(codebooks)
    return model


def timed(call: Callable[[], object]) -> float:
    """Return the seconds of one call."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    call()
    return clock() - start


def alternate(ours: Callable[[], object], theirs: Callable[[], object], runs: int) -> tuple[float, float, float]:
    """Return the median seconds of both, and the median of the ratios of neighbouring runs."""
    ours(), theirs()
    pairs = [(timed(ours), timed(theirs)) for _ in range(runs)]
    return (
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
        statistics.median(b / a for a, b in pairs),
    )


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--codebooks", type=int, default=8)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--graphs", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    theirs = peer(given.codebooks)
    codec = toneme.from_official("mimi", theirs)
    codec = made(codec, given.graphs, given.threads) if given.graphs else codec
    audio = torch.randn(1, 1, int(given.seconds * 24000) // FRAME * FRAME) * 0.1
    tokens = codec.encode(audio, codebooks=given.codebooks)
    with torch.inference_mode():
        codes = theirs.encode(audio)
        rows = [
            ("encode", lambda: codec.encode(audio, codebooks=given.codebooks), lambda: theirs.encode(audio)),
            ("decode", lambda: codec.decode(tokens), lambda: theirs.decode(codes)),
        ]
        print(f"{given.seconds:g} s, {given.threads} threads; {(tokens.codes != codes).sum()} of {codes.numel()} codes differ")
        print("| step | seconds | moshi | ratio |\n|---|---|---|---|")
        totals = [alternate(mine, other, given.runs) for _, mine, other in rows]
        for (name, _, _), (mine, other, ratio) in zip(rows, totals, strict=True):
            print(f"| {name} | {mine:.3f} | {other:.3f} | {ratio:.2f} |", flush=True)
        both = sum(row[1] for row in totals) / sum(row[0] for row in totals)
        print(f"| encode and decode | | | {both:.2f} |")
        mine, other, ratio = alternate_steps(codec, theirs, audio, given.codebooks)
        print(f"| streaming step of 80 ms | {mine:.4f} | {other:.4f} | {ratio:.2f} |")


def alternate_steps(codec, theirs, audio: torch.Tensor, codebooks: int) -> tuple[float, float, float]:
    """Time a frame in, its codes, and its sound back, frame after frame in both streams at once."""
    encoder, decoder = codec.stream_encoder(codebooks=codebooks), codec.stream_decoder()
    frames = iter(list(audio.split(FRAME, dim=-1)) * 2)
    with theirs.streaming(1):
        held: list[torch.Tensor] = []

        def step() -> None:
            held[:] = [next(frames)]
            decoder.push(encoder.push(held[0]))

        return alternate(step, lambda: theirs.decode(theirs.encode(held[0])), audio.shape[-1] // FRAME - 2)


if __name__ == "__main__":
    main()
