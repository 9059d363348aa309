"""How long the full reconstruction suite takes: ten-second clips of made speech through the default codec, by processes.

python -P benchmarks/evaluation.py --clips 60 --workers 2

The wall counts on an idle machine; on a busy one, seconds of processors, shared among the workers, say what it would be.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from toneme.codecs.audio import read_audio, write_audio

SPEECH = Path(__file__).parents[1] / "samples" / "speech.wav"
SECONDS = 10


def make_clips(folder: Path, count: int) -> None:
    """Write clips of ten seconds, each a repeated sentence from another start."""
    waveform, rate = read_audio(SPEECH)
    for i in range(count):
        turned = waveform.roll(-i * rate // 7, dims=1).repeat(1, 2)[:, : SECONDS * rate]
        write_audio(folder / f"{i:04}.wav", turned, rate)


def timed(folder: Path, workers: int) -> tuple[float, float]:
    """Return the seconds of one run by the wall, and those of processors, its workers' included."""
    command = [sys.executable, "-P", "-c", "from toneme.cli import main; main()", "eval", "default", "-n", "8"]
    command += ["--data", str(folder / "speech"), "-o", str(folder / f"report{time.time_ns()}"), "-j", str(workers)]
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    spent, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Time two runs of unlike size, so that what a run costs once is told from what a clip costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "speech").mkdir()
        make_clips(folder / "speech", given.workers)
        few = timed(folder, given.workers)
        make_clips(folder / "speech", given.clips)
        many = timed(folder, given.workers)
    for words, one, other, share in (("wall", few[0], many[0], 1), ("processor", few[1], many[1], given.workers)):
        each = (other - one) / (given.clips - given.workers)
        print(
            f"{words}: {one:.1f} s for {given.workers} clips, {other:.1f} s for {given.clips}: {each:.2f} s for each more of "
            f"{SECONDS} s, so {(one + each * 1000) / share / 60:.1f} minutes for 1,000 on {given.workers} free cores"
        )


if __name__ == "__main__":
    main()
