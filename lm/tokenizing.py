"""`tokenize`: a folder of recordings to shards of tokens, on all cores, GPUs or machines, going on where it was stopped."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from ..codecs.errors import TonemeError
from ..codecs.registry import load, pick_device
from .shard_formats import SUFFIXES
from .shard_item import About
from .shard_plan import Done, ShardFolder, locked
from .shard_work import EARLY, Settings, Worker, cores
from .variants import names_of

GPU_BATCH_SECONDS = 240.0
Watch = Callable[[int], AbstractContextManager[Callable[[int], None]]]


def tokenize(
    files: Sequence[Path],
    folder: str | Path,
    codec: str = "default",
    codebooks: int | None = None,
    format: str = "parquet",  # noqa: A002
    workers: int | None = None,
    device: str = "auto",
    cluster: bool = False,
    batch_seconds: float | None = None,
    files_per_shard: int | None = None,
    salvage: bool = False,
    bitrate: float | None = None,
    variants: int = 1,
    drop_missing: bool = False,
    root: str | Path | None = None,
    watch: Watch = lambda files: nullcontext(lambda done: None),
) -> dict[str, Any]:
    """Turn recordings into shards of tokens and return figures; a run that was stopped goes on when called again.

    With worker processes, a script that calls this must do so below `if __name__ == "__main__":`.

    Args:
        files: the recordings, each of which counts once; paths in the shards are those below `root`.
        folder: of the shards, made if need be.
        codec: name or folder, as `toneme.load` takes it.
        codebooks: how many, all by default.
        format: "parquet", "webdataset" or "npz".
        workers: processes for each device; by default one for each core of a CPU, one for a GPU. 0 works in this process.
        device: "auto" (all GPUs, else the CPU), "cpu", "cuda", or several as "cuda:0,cuda:1".
        cluster: work on a Ray cluster, `workers` actors in all.
        batch_seconds: audio that is coded at once; 20 on a CPU and 240 on a GPU by default.
        files_per_shard: as in the shards that are there, by default; in a new folder at most 1000, for at least 16 shards.
        salvage: take what is there of recordings that end before their header says.
        bitrate: highest nominal rate in kbps, instead of `codebooks`.
        variants: items made of each recording: itself, and others at other speeds and levels.
        drop_missing: take out what was made of recordings that are gone, instead of keeping it.
        root: a folder that all files are below: by default the nearest, or the one of the run that this one goes on with.
        watch: takes how many recordings are to be done, and gives a context whose value takes how many more are.

    Returns:
        codec, weights_hash, codebooks, shards, items, seconds (of audio), bytes, failures (path and error of each), and of this
        run: renewed (paths of recordings that were tokenised before, and whose audio is another now), dropped (paths of those
        that are gone, where that was asked for), files, elapsed, files_per_second and realtime_factor.

    Raises:
        TonemeError: if nothing can be read, or the folder holds shards of something else, or of another size.
    """
    if format not in SUFFIXES:
        raise TonemeError(f"shards are written as {', '.join(SUFFIXES)}; got {format!r}")
    devices = _devices(device)
    below, names = _below(files, root, Path(folder))
    model = load(codec, "cpu" if workers != 0 else devices[0])
    depth = model.spec.check_codebooks(codebooks) if bitrate is None else model.spec.codebooks_for(bitrate)
    about = About.of(model, depth)
    varied = [one for name in names for one in names_of(name, variants)]
    on_gpu = devices[0].startswith("cuda")
    batch = batch_seconds or (GPU_BATCH_SECONDS if on_gpu else 20.0)
    settings = Settings(below, batch, 4 if on_gpu else 2, salvage, 0 if on_gpu else EARLY)
    count = (1 if on_gpu else cores()) if workers is None else workers
    with locked(Path(folder)):
        shards = ShardFolder.plan(Path(folder), about, SUFFIXES[format], varied, files_per_shard, str(below), drop_missing)
        missing = shards.missing()
        with watch(sum(len(shards.shards[number]) for number in missing)) as advance:
            tally = _Tally(advance)
            if cluster:
                _on_cluster(shards, codec, max(1, count), devices[0], settings, tally)
            elif not missing or count == 0 or (count == 1 and devices == ["cpu"]):
                worker = Worker(model, shards, settings)
                for number in missing:
                    worker.make(number, tally)
            else:
                del model
                _on_this_machine(shards, codec, devices * max(1, count), settings, tally)
    return {
        "codec": about.codec, "weights_hash": about.weights_hash, "codebooks": about.codebooks, **shards.summary(),
        "renewed": shards.renewed, "dropped": shards.dropped, **tally.figures(),
    }  # fmt: skip


class _Tally:
    """Counts what was done, and how fast."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        self.advance, self.files, self.audio, self.start = advance, 0, 0.0, time.perf_counter()

    def __call__(self, files: int, seconds: float) -> None:
        self.files, self.audio = self.files + files, self.audio + seconds
        self.advance(files)

    def figures(self) -> dict[str, Any]:
        elapsed = max(time.perf_counter() - self.start, 1e-9)
        return {
            "files": self.files, "elapsed": round(elapsed, 3), "files_per_second": round(self.files / elapsed, 3),
            "realtime_factor": round(self.audio / elapsed, 2),
        }  # fmt: skip


def _on_this_machine(shards: ShardFolder, codec: str, devices: list[str], settings: Settings, tally: _Tally) -> None:
    from .shard_workers import make_with_processes

    make_with_processes(shards, codec, devices, max(1, cores() // len(devices)), settings, tally)


def _on_cluster(shards: ShardFolder, codec: str, workers: int, device: str, settings: Settings, tally: _Tally) -> None:
    from .cluster import make_on_cluster

    def done(told: Done) -> None:
        tally(told.items + len(told.failures), told.seconds)

    make_on_cluster(shards, codec, workers, device.partition(":")[0], 1, settings, done)


def _devices(device: str) -> list[str]:
    chosen = [pick_device(name.strip()) for name in device.split(",")]
    if device == "auto" and chosen == ["cuda"]:
        return [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    return chosen


def _below(files: Sequence[Path], root: str | Path | None, folder: Path) -> tuple[Path, list[str]]:
    """Return the folder that all files are below, and their paths there.

    Raises:
        TonemeError: if there are no files, or the folder's shards are of recordings elsewhere, whose names may be the same.
    """
    if not files:
        raise TonemeError("there is no recording to tokenise: name files or a folder that holds some")
    whole = [Path(os.path.abspath(file)) for file in files]
    below = Path(os.path.abspath(root)) if root is not None else Path(os.path.commonpath([file.parent for file in whole]))
    before = Path(ShardFolder.open(folder).root) if (folder / "shards.json").exists() else Path()
    if before.is_absolute() and before.is_dir() and not before.samefile(below):
        below = before
    if strange := [file for file in whole if not file.is_relative_to(below)]:
        raise TonemeError(
            f"{strange[0]} is not below {below}, as the recordings of {folder}: name another folder for its shards"
        )
    return below, [file.relative_to(below).as_posix() for file in dict.fromkeys(whole)]
