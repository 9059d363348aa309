"""An hour of audio through the command: seconds, peak resident memory, and codes against those of one whole pass.

python -P benchmarks/long_file.py [--codec default] [--minutes 60] [--whole-minutes 60] [--threads 1]
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch

import toneme

SAMPLES = Path(__file__).parents[1] / "samples"


def write_long(path: Path, minutes: float, rate: int, channels: int) -> None:
    """Write the made samples again and again at drifting levels, so that no two minutes are the same."""
    pieces = [
        toneme.read_audio(p, rate)[0].mean(0).numpy() for p in sorted(SAMPLES.glob("*.*")) if p.suffix in (".wav", ".flac")
    ]
    rng, left = np.random.default_rng(0), round(minutes * 60 * rate)
    with soundfile.SoundFile(path, "w", rate, channels, "PCM_16") as out:
        while left > 0:
            piece = (pieces[rng.integers(len(pieces))] * rng.uniform(0.1, 1.0))[:left]
            out.write(np.repeat(piece[:, None], channels, 1))
            left -= len(piece)


def measured(command: list[str], threads: int) -> tuple[float, float]:
    """Run a command in a process of its own; return its seconds and its peak resident memory in MB."""
    report = "import resource,sys,subprocess; c=subprocess.run(sys.argv[1:]).returncode; "
    report += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss/1024); sys.exit(c)"
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-P", "-c", report, *command],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": str(threads)},
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed")
    return time.perf_counter() - start, float(done.stdout.split()[-1])


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codec", default="default")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--whole-minutes", type=float, default=10, help="how much to encode in one piece for comparison")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    codec = toneme.load(given.codec)
    rate, program = codec.spec.sample_rate, [sys.executable, "-P", "-c", "from toneme.cli import main; main()"]
    with tempfile.TemporaryDirectory() as folder:
        audio, tokens, back = (Path(folder) / name for name in ("long.wav", "long.tok", "back.wav"))
        write_long(audio, given.minutes, rate, codec.spec.channels)
        print(f"{given.codec}, {given.minutes:g} minutes, {given.threads} threads\n")
        print("| step | seconds | times real time | peak MB |\n|---|---|---|---|")
        for name, command in (
            ("encode", ["encode", str(audio), "-o", str(tokens), "--codec", given.codec]),
            ("decode", ["decode", str(tokens), "-o", str(back), "--codec", given.codec]),
        ):
            seconds, peak = measured([*program, *command], given.threads)
            print(f"| {name} | {seconds:.1f} | {given.minutes * 60 / seconds:.0f} | {peak:.0f} |", flush=True)
        compare(codec, audio, toneme.read_tokens(tokens), given.whole_minutes, given.threads)
        print(f"file: {tokens.stat().st_size} bytes; as uint16 {2 * toneme.read_tokens(tokens).codes.numel()}")


def compare(codec, audio: Path, tokens, minutes: float, threads: int) -> None:
    """Print how many codes of the first minutes differ from those of one whole pass."""
    torch.set_num_threads(threads)
    waveform, rate = soundfile.read(audio, frames=round(minutes * 60 * codec.spec.sample_rate), dtype="float32", always_2d=True)
    whole = codec.encode(torch.from_numpy(waveform.T), rate).codes
    frames = whole.shape[-1] - 4  # the last ones hear the cut
    different = (whole[..., :frames] != tokens.codes[..., :frames]).sum().item()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    of = whole[..., :frames].numel()
    print(f"codes that differ from one pass over {minutes:g} minutes: {different} of {of} ({peak:.0f} MB)")


if __name__ == "__main__":
    main()
