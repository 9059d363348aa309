"""Bulk tokenisation beside a plain loop over PyPI's encodec with the same random weights, and beside the codec's own batches.

    python -P benchmarks/shards.py FOLDER [--files 60] [--kbps 6] [--workers 2] [--repeats 2]
    python -P benchmarks/shards.py FOLDER --codec default --kbps 2            # a codec of ours in one process, without a peer
    python -P benchmarks/shards.py FOLDER --codec default --kbps 2 --all      # and on all cores

Prints one JSON line: files/s of the plain loop (one thread per core) and of `codec tokenize` with `--workers` processes, from
its first batch to its end, start of the processes apart; and, in one process with one thread, the time of making shards over
that of the codec alone on the same batches, already in memory. With `--all` the same on all cores, wall time: the codec alone
in one process with a thread per core, and the processes of `codec tokenize`, by turns of some seconds;
each file is then taken `--repeats` times.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import random
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import soundfile
import soxr
import torch

from toneme.codecs.encodec import OFFICIAL
from toneme.codecs.registry import load
from toneme.lm.shard_item import About
from toneme.lm.shard_plan import ShardFolder
from toneme.lm.shard_work import Heard, Settings, Worker, cores, padded
from toneme.lm.shard_workers import make_with_processes
from toneme.lm.tokenizing import tokenize

if TYPE_CHECKING:
    from encodec import EncodecModel
    from torch import Tensor

    from toneme.codecs.base import Codec

SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3"}


def build(kbps: float) -> "EncodecModel":
    """Return the peer with random weights."""
    from encodec import EncodecModel

    torch.manual_seed(0)
    peer = EncodecModel.encodec_model_24khz(pretrained=False).eval()
    for layer in peer.quantizer.vq.layers:
        layer._codebook.embed.normal_(std=0.1)
        layer._codebook.inited.fill_(1)
    peer.set_target_bandwidth(kbps)
    return peer


@torch.inference_mode()
def plain_loop(peer: "EncodecModel", files: list[Path]) -> float:
    """Read and encode one file after another; return seconds."""
    began = time.perf_counter()
    for file in files:
        audio, rate = soundfile.read(file, dtype="float32", always_2d=True)
        mono = soxr.resample(audio.mean(1), rate, 24000)
        peer.encode(torch.from_numpy(mono)[None, None])
    return time.perf_counter() - began


class Clock:
    """Seconds from the first file's end to the last one's, and the files between."""

    def __init__(self) -> None:
        self.times: list[float] = []

    @contextmanager
    def watch(self, files: int) -> Iterator[object]:
        """Yield what `tokenize` tells of each file."""
        yield lambda done: self.times.extend([time.perf_counter()] * done)

    @property
    def files_per_second(self) -> float:
        first = self.times[0]
        later = [t for t in self.times if t > first + 1e-3]  # a batch's files end at once: the first batch is the start
        return len(later) / (self.times[-1] - first)


def held(worker: Worker) -> list[tuple["Tensor", list[int]]]:
    """Return the batches of all shards as the codec takes them."""
    batches = []
    for names in worker.folder.shards:
        lengths = {name: n for name in names if isinstance(n := worker._length(name), int)}
        for batch in worker._batches(lengths)[0]:
            heard = worker._read(batch)
            batches.append(padded([one.audio for one in heard if isinstance(one, Heard)]))
            assert len(batches[-1][1]) == len(batch)
    return batches


def alone(codec: "Codec", depth: int, batches: list[tuple["Tensor", list[int]]]) -> None:
    """Code batches that are in memory."""
    for waveform, lengths in batches:
        codec.encode(waveform, lengths=lengths, codebooks=depth)


def one_process(codec_name: str, depth: int, files: list[Path], place: Path) -> dict[str, float]:
    """Return the time of making a shard over that of the codec alone on the same batches in memory, and both x real time.

    Times are of the process, one thread, so that readers count as work too though they run beside the codec on more cores.
    """
    torch.set_num_threads(1)
    codec = load(codec_name)
    shards = ShardFolder.plan(place, About.of(codec, depth), ".npz", [str(file) for file in files], len(files))
    worker = Worker(codec, shards, Settings(files[0].parent))
    batches, by_itself, whole = held(worker), [], []
    audio = sum(sum(lengths) for _, lengths in batches) / codec.spec.sample_rate
    worker.make(0)  # warms up
    while len(whole) < 3 or sum(whole) < 15:
        began = time.process_time()
        alone(codec, depth, batches)
        between = time.process_time()
        worker.make(0)
        by_itself.append(between - began)
        whole.append(time.process_time() - between)
    ratios = [b / a for a, b in zip(by_itself, whole, strict=True)]
    return {
        "shards_over_codec_alone": statistics.median(ratios), "codec_alone_x_real_time": audio / statistics.median(by_itself),
        "shards_x_real_time": audio / statistics.median(whole),
    }  # fmt: skip


class Turns:
    """Worker processes and the codec alone by turns of some seconds, so that both see the same neighbours.

    Attributes:
        theirs: seconds of audio and seconds that it took, of each turn of the workers.
        ours: the same of the codec alone.
    """

    def __init__(self, audio: float, by_itself: Callable[[], tuple[float, float]], seconds: float) -> None:
        """Take seconds of audio that there are, what codes some of it alone, and seconds of a turn."""
        self.audio, self.by_itself, self.seconds = audio, by_itself, seconds
        self.done = self.before = self.began = 0.0
        self.theirs: list[tuple[float, float]] = []
        self.ours: list[tuple[float, float]] = []

    def __call__(self, files: int, seconds: float) -> None:
        """Take what the workers tell; all of them work between a tenth and nine tenths of the audio."""
        self.done += seconds
        now = time.perf_counter()
        if not 0.1 <= self.done / self.audio <= 0.9:
            return
        if self.began and now - self.began < self.seconds:
            return
        if self.began:
            self.theirs.append((self.done - self.before, now - self.began))
            with stopped(multiprocessing.active_children()):
                self.ours.append(self.by_itself())
        self.before, self.began = self.done, time.perf_counter()


@contextmanager
def stopped(processes: list[Any]) -> Iterator[None]:
    """Let processes stand still."""
    try:
        for process in processes:
            os.kill(process.pid, signal.SIGSTOP)
        yield
    finally:
        for process in processes:
            os.kill(process.pid, signal.SIGCONT)


def in_turn(
    codec: "Codec", depth: int, batches: list[tuple["Tensor", list[int]]], seconds: float
) -> Callable[[], tuple[float, float]]:
    """Return what codes the next batches, from the first again after the last, and gives seconds of audio and of time."""
    endless = itertools.cycle(batches)

    def code() -> tuple[float, float]:
        began, samples = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            batch = next(endless)
            alone(codec, depth, [batch])
            samples += sum(batch[1])
        return samples / codec.spec.sample_rate, time.perf_counter() - began

    return code


def all_cores(codec_name: str, depth: int, files: list[Path], place: Path, workers: int, times: int) -> dict[str, float]:
    """Return the time of the processes of `codec tokenize` over that of the codec alone on the same batches, on all cores.

    Each file is taken so many times, under as many names.
    """
    codec, settings = load(codec_name), Settings(files[0].parent)
    often = [f"{file.parent}{'/.' * i}/{file.name}" for i in range(times) for file in files]
    plan = ShardFolder.plan(place, About.of(codec, depth), ".npz", often)
    batches = held(Worker(codec, plan, settings))
    audio = sum(sum(lengths) for _, lengths in batches) / codec.spec.sample_rate
    random.Random(0).shuffle(batches)  # else a turn would have long recordings alone, or short ones
    torch.set_num_threads(cores())
    turns = Turns(audio, in_turn(codec, depth, batches, 3.0), 3.0)
    turns.by_itself()  # warms up
    make_with_processes(plan, codec_name, ["cpu"] * workers, max(1, cores() // workers), settings, turns)
    whole, by_itself = (statistics.median(a / t for a, t in turn) for turn in (turns.theirs, turns.ours))
    return {
        "all_cores_shards_over_codec_alone": by_itself / whole, "all_cores_codec_alone_x_real_time": by_itself,
        "all_cores_shards_x_real_time": whole, "turns": len(turns.ours), "cores": cores(), "workers": workers,
    }  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=60)
    parser.add_argument("--kbps", type=float, default=6)
    parser.add_argument("--workers", type=int, default=cores())
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--codec", default="", help="name or folder of a codec of ours: measure it alone, in one process")
    parser.add_argument("--all", action="store_true", help="with --codec: on all cores too")
    chosen = parser.parse_args()
    files = sorted(path.resolve() for path in chosen.folder.rglob("*") if path.suffix in SUFFIXES)
    files = files[:: max(1, len(files) // chosen.files)][: chosen.files]
    if chosen.codec:
        with tempfile.TemporaryDirectory() as name:
            depth = load(chosen.codec).spec.codebooks_for(chosen.kbps)
            found = one_process(chosen.codec, depth, files[:: -(-len(files) // 40)], Path(name) / "one")
            if chosen.all:
                found |= all_cores(chosen.codec, depth, files, Path(name) / "all", chosen.workers, chosen.repeats)
            print(json.dumps({"files": len(files), **found}))
        return
    peer, found = build(chosen.kbps), []
    codec = OFFICIAL["encodec_24khz"](peer.state_dict())
    depth = codec.spec.codebooks_for(chosen.kbps)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        codec.save(folder / "codec")
        for repeat in range(chosen.repeats):
            torch.set_num_threads(cores())
            plain = len(files) / plain_loop(peer, files)
            clock = Clock()
            tokenize(files, folder / f"{repeat}", str(folder / "codec"), depth, "npz", chosen.workers, "cpu", watch=clock.watch)
            found.append((plain, clock.files_per_second))
        overhead = one_process(str(folder / "codec"), depth, files[: len(files) // 3], folder / "one")
    plain, ours = (statistics.median(column) for column in zip(*found, strict=True))
    print(
        json.dumps(
            {
                "files": len(files), "cores": cores(), "plain_files_per_second": plain, "tokenize_files_per_second": ours,
                "times_faster": statistics.median(b / a for a, b in found), **overhead,
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
