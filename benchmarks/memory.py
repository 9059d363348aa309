"""Peak resident memory of long audio through official codecs at full size with random weights, each step in its own process.

python -P benchmarks/memory.py NAME... [--minutes 10] [--way command] [--threads 1]

`command` runs `codec encode` and `codec decode`; `python` calls `codec.encode` and `codec.decode` with all of the audio in
memory. X-Codec-2 gets its speech model's weights in its own folder.
"""

import argparse
import dataclasses
import importlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

COMMAND = "from toneme.cli import main; main()"
STEPS = {  # way -> step -> program and its arguments
    "command": {
        "encode": (COMMAND, "encode {audio} -o {tokens} --codec {folder}"),
        "decode": (COMMAND, "decode {tokens} -o {back} --codec {folder}"),
    },
    "python": {
        "encode": (
            "import sys, toneme; a, t, f = sys.argv[1:]; toneme.load(f).encode(*toneme.read_audio(a)).save(t)",
            "{audio} {tokens} {folder}",
        ),
        "decode": (
            "import sys, toneme; t, f = sys.argv[1:]; toneme.load(f).decode(toneme.read_tokens(t))",
            "{tokens} {folder}",
        ),
    },
}


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--way", default="command", choices=list(STEPS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--save", type=Path, help="write the codec there and stop, as a process of its own does for each NAME")
    given = parser.parse_args()
    if given.save:
        return save(given.names[0], given.save)
    environment = {**os.environ, "OMP_NUM_THREADS": str(given.threads)}
    print("| codec | step | peak MB | seconds |\n|---|---|---|---|")
    for name in given.names:
        with tempfile.TemporaryDirectory() as folder:
            own = [sys.executable, "-P", __file__, name, "--save", folder]
            rate, channels = map(int, subprocess.run(own, stdout=subprocess.PIPE, check=True).stdout.split()[-2:])
            paths = {"folder": folder} | {part: f"{folder}/{part}" for part in ("audio.wav", "tokens.tok", "back.wav")}
            paths = {part.split(".")[0]: path for part, path in paths.items()}
            write_noise(Path(paths["audio"]), given.minutes, rate, channels)
            for step, (program, words) in STEPS[given.way].items():
                peak, seconds = measured([sys.executable, "-P", "-c", program, *words.format(**paths).split()], environment)
                print(f"| {name} | {step} | {peak:.0f} | {seconds:.0f} |", flush=True)


def save(name: str, folder: Path) -> None:
    """Write an official codec with random weights, and print its sample rate and channels."""
    import torch

    from toneme.codecs.registry import FAMILIES

    torch.manual_seed(0)
    for module, kind in FAMILIES.values():
        family = importlib.import_module(f"toneme.codecs{module}")
        if name in getattr(family, "CONFIGS", ()):
            config = family.CONFIGS[name]
            if getattr(config, "teacher", ...) is None:  # X-Codec-2's, which else would be fetched
                config = dataclasses.replace(config, teacher=family.TEACHER)
            codec = getattr(family, kind)(config, name)
            for tensor in codec.state_dict().values():
                if tensor.is_floating_point() and not tensor.any():
                    tensor.normal_()  # codebooks
            codec.save(folder)
            return print(codec.spec.sample_rate, codec.spec.channels)
    sys.exit(f"no family of codecs has a configuration called {name}")


def write_noise(path: Path, minutes: float, rate: int, channels: int) -> None:
    """Write white noise at drifting levels, a second after the other."""
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", rate, channels, "PCM_16") as out:
        for _ in range(round(minutes * 60)):
            out.write(rng.normal(0, rng.uniform(0.01, 0.2), (rate, channels)))


def measured(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Run a command; return its peak resident memory in MB and its seconds."""
    start = time.perf_counter()
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed")
    return usage.ru_maxrss / 1024, time.perf_counter() - start


if __name__ == "__main__":
    main()
