"""Shards on many machines with Ray Data: an actor per worker loads the codec once; work of actors that die is done again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..codecs.errors import MissingDependencyError, TonemeError, how_to_install
from .shard_plan import Done, ShardFolder
from .shard_work import Settings, Worker


def make_on_cluster(
    folder: ShardFolder,
    codec: str,
    workers: int,
    device: str,
    threads: int,
    settings: Settings,
    done: Callable[[Done], None] = lambda done: None,
) -> None:
    """Make all shards that are missing on the Ray cluster that this process is connected to, or a local one.

    Every machine must see the recordings, the folder of shards and the codec under the same paths.

    Args:
        folder: with its plan.
        codec: name or folder, as `toneme.load` takes it.
        workers: actors; each takes one GPU where `device` is one, else `threads` cores.
        device: "cpu" or "cuda".
        threads: of each actor's arithmetic.
        settings: of all actors.
        done: takes what is known of each shard that was made.

    Raises:
        MissingDependencyError: without Ray Data.
        TonemeError: if shards are still missing at the end.
    """
    try:
        import ray
        import ray.data
    except ImportError:
        raise MissingDependencyError(f"--cluster needs Ray Data: {how_to_install('cluster')}") from None
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    numbers = folder.missing()
    if not numbers:
        return
    ray.data.DataContext.get_current().enable_progress_bars = False  # `done` tells of progress
    resources: dict[str, Any] = {"num_gpus": 1} if device.startswith("cuda") else {"num_cpus": threads}
    made = (
        ray.data.from_items([{"shard": number} for number in numbers], override_num_blocks=len(numbers))
        .map_batches(
            Actor, batch_size=1, compute=ray.data.ActorPoolStrategy(size=min(workers, len(numbers))), zero_copy_batch=True,
            fn_constructor_args=(str(folder.folder.resolve()), codec, device, threads, settings), **resources,
        )
        .iter_rows()
    )  # fmt: skip
    for row in made:
        told = folder.done(int(row["shard"]))
        if told is not None:
            done(told)
    if missing := folder.missing():
        raise TonemeError(
            f"{len(missing)} shards are missing though Ray ended well: see that every machine sees {folder.folder}"
        )


class Actor:
    """A worker on some machine of the cluster."""

    def __init__(self, folder: str, codec: str, device: str, threads: int, settings: Settings) -> None:
        import torch

        from ..codecs.registry import load

        torch.set_num_threads(threads)
        self.worker = Worker(load(codec, device), ShardFolder.open(Path(folder)), settings)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Make the shards that a batch names; those that another actor made before it died are left as they are."""
        for number in batch["shard"].tolist():
            if self.worker.folder.done(number) is None:
                self.worker.make(number)
        return {"shard": batch["shard"]}
