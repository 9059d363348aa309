"""Bulk tokenisation beside a plain loop over PyPI's encodec with the same random weights, and beside the codec's own batches.

    python -P benchmarks/shards.py FOLDER [--files 60] [--kbps 6] [--workers 2] [--repeats 3]
    python -P benchmarks/shards.py FOLDER --codec default --kbps 2      # a codec of ours, without a peer

Prints one JSON line: files/s of the plain loop (one thread per core) and of `codec tokenize` with `--workers` processes, from
its first batch to its end, start of the processes apart; and, in one process with one thread, the time of making shards over
that of the codec alone on the same batches, already in memory.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import soundfile
import soxr
import torch
from encodec import EncodecModel

from toneme.codecs.encodec import OFFICIAL
from toneme.codecs.registry import load
from toneme.lm.shard_item import About
from toneme.lm.shard_plan import ShardFolder
from toneme.lm.shard_work import Heard, Settings, Worker, cores
from toneme.lm.tokenizing import tokenize

SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3"}


def build(kbps: float) -> EncodecModel:
    """Return the peer with random weights."""
    torch.manual_seed(0)
    peer = EncodecModel.encodec_model_24khz(pretrained=False).eval()
    for layer in peer.quantizer.vq.layers:
        layer._codebook.embed.normal_(std=0.1)
        layer._codebook.inited.fill_(1)
    peer.set_target_bandwidth(kbps)
    return peer


@torch.inference_mode()
def plain_loop(peer: EncodecModel, files: list[Path]) -> float:
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
        yield lambda done: self.times.append(time.perf_counter())

    @property
    def files_per_second(self) -> float:
        first = self.times[0]
        later = [t for t in self.times if t > first + 1e-3]  # a batch's files end at once: the first batch is the start
        return len(later) / (self.times[-1] - first)


def one_process(codec_name: str, depth: int, files: list[Path], place: Path) -> dict[str, float]:
    """Return the time of making a shard over that of the codec alone on the same batches in memory, and both x real time.

    Times are of the process, one thread, so that readers count as work too though they run beside the codec on more cores.
    """
    torch.set_num_threads(1)
    codec = load(codec_name)
    root = files[0].parent
    shards = ShardFolder.plan(place, About.of(codec, depth), ".npz", [str(file) for file in files], len(files))
    worker = Worker(codec, shards, Settings(root))
    lengths = {name: n for name in shards.shards[0] if isinstance(n := worker._length(name), int)}
    batches = [(names, worker._read(names)) for names in worker._batches(lengths)[0]]
    assert all(isinstance(one, Heard) for _, heard in batches for one in heard)
    audio, ratios, alone, whole = sum(lengths.values()) / codec.spec.sample_rate, [], [], []
    for _ in range(3):
        began = time.process_time()
        for names, heard in batches:
            worker._encode(names, heard)
        between = time.process_time()
        worker.make(0)
        alone.append(between - began)
        whole.append(time.process_time() - between)
        ratios.append(whole[-1] / alone[-1])
    return {
        "shards_over_codec_alone": statistics.median(ratios), "codec_alone_x_real_time": audio / statistics.median(alone),
        "shards_x_real_time": audio / statistics.median(whole),
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
    chosen = parser.parse_args()
    files = sorted(path.resolve() for path in chosen.folder.rglob("*") if path.suffix in SUFFIXES)
    files = files[:: max(1, len(files) // chosen.files)][: chosen.files]
    if chosen.codec:
        with tempfile.TemporaryDirectory() as name:
            depth = load(chosen.codec).spec.codebooks_for(chosen.kbps)
            print(json.dumps({"files": len(files), **one_process(chosen.codec, depth, files, Path(name))}))
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
