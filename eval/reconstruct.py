"""Reconstruction of a folder's clips by a codec at several depths, or by a shell command, as a Markdown table.

    python -m toneme.eval.reconstruct CODEC --data FOLDER [--codebooks 1 2 4 8] [--opus 6 8 12]

Each clip is mixed to mono and resampled to the codec's rate once; that is the target of every metric.
"""

import argparse
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from ..codecs.audio import read_audio, write_audio
from ..codecs.errors import AudioError, MissingDependencyError
from ..codecs.registry import load
from .metrics.mel_distance import mel_distance
from .metrics.pesq import pesq
from .metrics.si_sdr import si_sdr
from .metrics.stoi import stoi
from .summary import summarise

Rebuild = Callable[[Tensor], tuple[Tensor, float]]  # target [samples] to estimate [samples] and bits spent


def metrics(estimate: Tensor, target: Tensor, sample_rate: int, speech: bool) -> Iterator[tuple[str, Callable[[], float]]]:
    """Yield the name and the computation of every metric that fits the clip."""
    if speech:
        yield "PESQ-WB", lambda: pesq(estimate, target, sample_rate)
        yield "STOI", lambda: stoi(estimate, target, sample_rate)
    yield "mel distance", lambda: mel_distance(estimate[None], target[None], sample_rate).item()
    yield "SI-SDR dB", lambda: si_sdr(estimate, target).item()


def evaluate(rebuild: Rebuild, clips: list[Path], sample_rate: int, speech: bool) -> tuple[dict[str, str], float]:
    """Return the summary of every metric over the clips, and the mean bitrate in kbps."""
    values, failures, bits, seconds = {}, {}, 0.0, 0.0
    for path in clips:
        waveform, _ = read_audio(path, sample_rate)
        target = waveform.mean(0)
        estimate, spent = rebuild(target)
        bits, seconds = bits + spent, seconds + len(target) / sample_rate
        for name, compute in metrics(estimate, target, sample_rate, speech):
            try:
                values.setdefault(name, []).append(compute())
            except AudioError as error:
                failures.setdefault(name, []).append(f"{path.name}: {error}")
    table = {name: str(summarise(found, len(failures.get(name, [])))) for name, found in values.items()}
    for name in failures:
        print(*failures[name], sep="\n")
    return table, bits / seconds / 1000


def by_codec(codec, codebooks: int) -> Rebuild:
    """Return a rebuild by a codec at one depth; bits are the nominal ones of its frames."""

    def rebuild(target: Tensor) -> tuple[Tensor, float]:
        tokens = codec.encode(target, codebooks=codebooks)
        frames = tokens.codes.shape[-1]
        return codec.decode(tokens)[0, 0], frames / codec.spec.frame_rate * codec.spec.bitrate(codebooks) * 1000

    return rebuild


def by_opus(kbps: float, sample_rate: int) -> Rebuild:
    """Return a rebuild by opusenc (speech tuning, 60 ms frames); bits are those of the file less its fixed headers."""

    def rebuild(target: Tensor) -> tuple[Tensor, float]:
        with tempfile.TemporaryDirectory() as folder:
            first, coded, last = (Path(folder) / name for name in ("in.wav", "mid.opus", "out.wav"))
            write_audio(first, target[None], sample_rate)
            _run(["opusenc", "--quiet", "--speech", "--framesize", "60", "--bitrate", str(kbps), str(first), str(coded)])
            _run(["opusdec", "--quiet", "--rate", str(sample_rate), str(coded), str(last)])
            waveform, _ = read_audio(last)
            return _fit(waveform[0], len(target)), 8.0 * _payload(coded.read_bytes())

    return rebuild


def _payload(file: bytes) -> int:
    """Return the bytes of audio in an Ogg file: what its pages' segment tables add up to, the two header pages left out."""
    at, pages = 0, []
    while at < len(file):
        segments = file[at + 27 : at + 27 + file[at + 26]]
        pages.append(sum(segments))
        at += 27 + len(segments) + sum(segments)
    return sum(pages[2:])


def _fit(waveform: Tensor, samples: int) -> Tensor:
    return torch.nn.functional.pad(waveform[:samples], (0, max(0, samples - len(waveform))))


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        raise MissingDependencyError(f"{command[0]} is not installed: the Opus rows need the package opus-tools") from None


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("codec")
    parser.add_argument("--data", type=Path, required=True, help="folder with speech/, music/ and environment/")
    parser.add_argument("--codebooks", type=int, nargs="*", default=[1, 2, 4, 8])
    parser.add_argument("--opus", type=float, nargs="*", default=[], help="kbps of Opus rows")
    given = parser.parse_args()
    codec = load(given.codec)
    rate = codec.spec.sample_rate
    for domain in ("speech", "music", "environment"):
        clips = sorted((given.data / domain).glob("*.flac"))
        rows = [(f"{codec.name} x{n}", by_codec(codec, n)) for n in given.codebooks]
        rows += [(f"Opus {kbps:g}", by_opus(kbps, rate)) for kbps in given.opus]
        for i, (name, rebuild) in enumerate(rows):
            table, kbps = evaluate(rebuild, clips, rate, speech=domain == "speech")
            if not i:
                print(
                    f"\n{domain}, {len(clips)} clips\n\n| codec | kbps | "
                    + " | ".join(table)
                    + " |\n|"
                    + "---|" * (len(table) + 2)
                )
            print(f"| {name} | {kbps:.2f} | " + " | ".join(table.values()) + " |", flush=True)


if __name__ == "__main__":
    main()
