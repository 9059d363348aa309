"""How long the full reconstruction suite takes: ten-second clips of made speech through the default codec, by processes.

python -P benchmarks/evaluation.py --clips 24 --workers 2
"""

import argparse
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


def timed(folder: Path, workers: int) -> float:
    """Return the seconds that one run takes."""
    command = [sys.executable, "-P", "-c", "from toneme.cli import main; main()", "eval", "default", "-n", "8"]
    command += ["--data", str(folder / "speech"), "-o", str(folder / f"report{time.time_ns()}"), "-j", str(workers)]
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Time two runs of unlike size, so that what a run costs once is told from what a clip costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "speech").mkdir()
        make_clips(folder / "speech", given.workers)
        few = timed(folder, given.workers)
        make_clips(folder / "speech", given.clips)
        many = timed(folder, given.workers)
    each = (many - few) / (given.clips - given.workers)
    print(f"{given.workers} workers: {few:.1f} s for {given.workers} clips, {many:.1f} s for {given.clips}")
    print(f"{each:.2f} s for each more clip of {SECONDS} s, so {(few + each * 1000) / 60:.1f} minutes for 1,000")


if __name__ == "__main__":
    main()
