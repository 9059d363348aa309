"""Exported codecs: milliseconds per 80 ms of audio against our own PyTorch path, load time, and memory over a long stream.

python -P benchmarks/exported.py stream FOLDER [--minutes 10]     the runtime alone: percentiles, load, memory
python -P benchmarks/exported.py compare FOLDER CODEC [--seconds 10] [--steps 40] [--threads 1]
python -P benchmarks/exported.py load FOLDER [--runs 5]           loading alone, each time in a process of its own

FOLDER is what `codec export` made; CODEC is the name or folder of the codec that it was made of. `compare` alternates the two
in one process: with one thread (`stream` has but that) in time of the processor, so that neighbours on the machine count
less, with more by the wall.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from toneme.export.golden import made_audio
from toneme.export.runtime import StreamingCodec

STEP = 0.08  # seconds
LOADING = """
import json, resource, sys, time
import onnxruntime
from toneme.export.runtime import StreamingCodec

codec = StreamingCodec(sys.argv[1])
times = [(time.perf_counter(), time.process_time())]
for make in [codec.encoder] * (codec.manifest.encoder is not None) + [codec.decoder]:
    make()
    times.append((time.perf_counter(), time.process_time()))
spent = [[b - a for a, b in zip(*pair)] for pair in zip(times, times[1:])]
print(json.dumps([*spent[0], *spent[-1], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def memory() -> float:
    """Return the resident memory of this process now, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def load(folder: str, runs: int) -> None:
    """Print the median seconds in which encoder and decoder are ready, and the memory that takes at most."""
    command = [sys.executable, "-P", "-c", LOADING, folder]
    rows = [json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(runs)]
    a, b, c, d, most = (statistics.median(column) for column in zip(*rows, strict=True))
    print(f"{folder}: encoder {a:.2f} s ({b:.2f} of processor), decoder {c:.2f} ({d:.2f}); {most:.0f} MB at most")


def stream(folder: str, minutes: float) -> None:
    """Push audio 80 ms at a time through encoder and decoder; print percentiles of time, load time and memory."""
    start = time.perf_counter()
    codec = StreamingCodec(folder)
    encoder, decoder = codec.encoder(), codec.decoder()
    loaded = time.perf_counter() - start
    size = round(STEP * codec.sample_rate)
    audio = made_audio(codec.sample_rate, codec.channels, 60)
    steps, marks = round(minutes * 60 / STEP), []
    times = np.full((2, steps), np.nan)  # made beforehand: a list's growth would count as the streams'
    for step in range(steps):
        at = step * size % (audio.shape[-1] - size)
        piece = audio[..., at : at + size]
        before = time.perf_counter(), time.process_time()
        decoder.push(encoder.push(piece))
        times[:, step] = time.perf_counter() - before[0], time.process_time() - before[1]
        if step % max(1, steps // 10) == steps // 20:
            marks.append(memory())
    print(f"{codec.manifest.codec}: loaded in {loaded:.2f} s; {minutes:g} minutes in steps of 80 ms, encode and decode:")
    for clock, column in zip(("wall", "processor"), times * 1000, strict=True):
        low, middle, high = np.percentile(column, [50, 95, 99])
        print(f"{clock}: median {low:.2f} ms, 95 % {middle:.2f} ms, 99 % {high:.2f} ms, longest {column.max():.1f} ms")
    print(f"memory at ten instants, MB: {', '.join(f'{mark:.0f}' for mark in marks)}")


def alternate(
    ours: Callable[[], object], theirs: Callable[[], object], runs: int, clock: Callable[[], float]
) -> tuple[float, float, float]:
    """Return the median milliseconds of both, and the median of the ratios of neighbouring runs."""
    ours(), theirs()
    pairs = [(timed(ours, clock), timed(theirs, clock)) for _ in range(runs)]
    ratio = statistics.median(b / a for a, b in pairs)
    return 1000 * statistics.median(a for a, _ in pairs), 1000 * statistics.median(b for _, b in pairs), ratio


def timed(call: Callable[[], object], clock: Callable[[], float]) -> float:
    """Return the seconds of one call."""
    start = clock()
    call()
    return clock() - start


def compare(folder: str, name: str, seconds: float, steps: int, runs: int, threads: int) -> None:
    """Print the times of both paths: whole audio, and steps of a stream where the codec gives something at each."""
    import torch

    import toneme

    torch.set_num_threads(threads)
    exported, codec = StreamingCodec(folder, threads), toneme.load(name)
    clock = time.process_time if threads == 1 else time.perf_counter
    depth = exported.codebooks
    audio = made_audio(codec.spec.sample_rate, codec.spec.channels, seconds)
    waveform = torch.from_numpy(audio)
    tokens = codec.encode(waveform, codebooks=depth)
    codes = tuple(stream.numpy() for stream in tokens.streams)
    encoder = exported.manifest.encoder  # none where only decoding is exported
    found = exported.encode(audio) if encoder else codes
    found = found if isinstance(found, tuple) else (found,)
    differ = sum(int((a != b).sum()) for a, b in zip(found, codes, strict=True))
    error = np.abs(exported.decode(codes, audio.shape[-1]) - codec.decode(tokens).numpy()).max()
    print(f"{codec.name}, {depth} codebooks, {seconds:g} s: {differ} of {sum(c.size for c in codes)} codes differ, {error:.1e}")
    print("| codec | step | ONNX ms | PyTorch ms | ratio |\n|---|---|---|---|---|")
    rows = [("decode", lambda: exported.decode(codes), lambda: codec.decode(tokens))]
    if encoder:
        rows.insert(0, ("encode", lambda: exported.encode(audio), lambda: codec.encode(waveform, codebooks=depth)))
    for step, mine, other in rows:
        a, b, ratio = alternate(mine, other, runs, clock)
        print(f"| {codec.name} | {step} | {a:.1f} | {b:.1f} | {ratio:.2f} |", flush=True)
    if encoder and encoder.mode == "steps":
        a, b, ratio = alternate(*stream_steps(exported, codec, depth), steps, clock)
        print(f"| {codec.name} | 80 ms of a stream | {a:.2f} | {b:.2f} | {ratio:.2f} |")


def stream_steps(exported: StreamingCodec, codec, depth: int) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return functions that take the next 80 ms in and sound them, of streams that have begun."""
    import torch

    audio = made_audio(exported.sample_rate, exported.channels, 20)
    size = round(STEP * exported.sample_rate)
    spans = [audio[..., at : at + size] for at in range(audio.shape[-1] // 2, audio.shape[-1] - size, size)]
    mine, sound = exported.encoder(codebooks=depth), exported.decoder()
    other, back = codec.stream_encoder(codebooks=depth), codec.stream_decoder()
    for _ in range(10):
        sound.push(mine.push(spans[0]))
        back.push(other.push(torch.from_numpy(spans[0])))
    turns, others = iter(spans * 20), iter(spans * 20)
    return lambda: sound.push(mine.push(next(turns))), lambda: back.push(other.push(torch.from_numpy(next(others))))


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["stream", "compare", "load"])
    parser.add_argument("folder")
    parser.add_argument("codec", nargs="?", default="default")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    if given.what == "stream":
        stream(given.folder, given.minutes)
    elif given.what == "load":
        load(given.folder, given.runs)
    else:
        compare(given.folder, given.codec, given.seconds, given.steps, given.runs, given.threads)


if __name__ == "__main__":
    main()
