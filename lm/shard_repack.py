"""Shards cut anew from their tokens alone: other sizes, another format, without recordings that are gone.

The old folder is read and left as it is. The new one has a plan of its own, and every shard is written whole or not at all, so
that a run which was stopped goes on, and nobody reads half of it: `read_shards` refuses what lacks shards.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from ..codecs.errors import TokenFileError, TonemeError
from ..codecs.files import atomic_path
from .shard_formats import SUFFIXES, read_shard, write_shard
from .shard_item import Item, as_text
from .shard_plan import Done, ShardFolder, cut, gone_of, locked
from .variants import original

Watch = Callable[[int], AbstractContextManager[Callable[[int], None]]]


def repack(
    folder: str | Path,
    output: str | Path,
    files_per_shard: int | None = None,
    format: str | None = None,  # noqa: A002
    drop_missing: bool = False,
    root: str | Path | None = None,
    watch: Watch = lambda files: nullcontext(lambda done: None),
) -> dict[str, Any]:
    """Write finished shards anew into another folder, which `tokenize` goes on with, and return figures.

    The tokens are those of before, in their order. A run that was stopped goes on when called again.

    Args:
        folder: of the shards.
        output: folder of the new ones, made if need be.
        files_per_shard: at most 1000, for at least 16 shards, by default.
        format: "parquet", "webdataset" or "npz"; that of the folder by default.
        drop_missing: leave out recordings that are not below `root` any more.
        root: the folder of the recordings, where they were tokenised by default.
        watch: takes how many recordings are to be written, and gives a context whose value takes how many more are.

    Returns:
        codec, weights_hash, codebooks, shards, items, seconds (of audio), bytes, failures (path and error of each) and dropped
        (paths of the recordings that were left out).

    Raises:
        TonemeError: if shards are missing, the output holds others, or no recording would be left.
    """
    target = Path(output)
    if format not in (None, *SUFFIXES):
        raise TonemeError(f"shards are written as {', '.join(SUFFIXES)}; got {format!r}")
    if files_per_shard is not None and files_per_shard < 1:
        raise TonemeError(f"a shard has at least one recording; got {files_per_shard}")
    ShardFolder.open(folder)  # before anything is written
    if target.exists() and target.samefile(folder):
        raise TonemeError(f"{target} holds the shards themselves: name another folder, and put it in their place afterwards")
    with _kept(Path(folder)) as source, locked(target):
        below = source.root if root is None else os.path.abspath(root)
        gone = _gone(source, below) if drop_missing else set[str]()
        names = [name for shard in source.shards for name in shard if original(name) not in gone]
        if not names:
            raise TonemeError(f"none of the recordings of {folder} is in {below}: look whether that is the right folder")
        suffix = source.suffix if format is None else SUFFIXES[format]
        new = ShardFolder.begin(target, source.about, suffix, cut(names, files_per_shard), below, files_per_shard)
        packer = _Packer(source, new)
        with watch(len(names)) as advance:
            for number, shard in enumerate(new.shards):
                packer.make(number)
                advance(len(shard))
    about = new.about
    told = {"codec": about.codec, "weights_hash": about.weights_hash, "codebooks": about.codebooks}
    return {**told, **new.summary(), "dropped": sorted(map(as_text, gone))}


@contextmanager
def _kept(folder: Path) -> Iterator[ShardFolder]:
    """Give finished shards, which no other run changes meanwhile."""
    with locked(folder) if os.access(folder, os.W_OK) else nullcontext():
        source = ShardFolder.open(folder)
        if missing := source.missing():
            raise TokenFileError(
                f"{folder} lacks {len(missing)} of {len(source.shards)} shards: run `codec tokenize` on it first"
            )
        yield source


def _gone(source: ShardFolder, root: str) -> set[str]:
    if not root or not Path(root).is_dir():
        raise TonemeError(
            f"the recordings of {source.folder} were in {root or 'a folder'}, which is not there: name it with --root"
        )
    return gone_of(source.shards, Path(root))


class _Packer:
    """Takes items from one folder of shards to the next."""

    def __init__(self, source: ShardFolder, new: ShardFolder) -> None:
        self.source, self.new = source, new
        self.homes = {name: number for number, shard in enumerate(source.shards) for name in shard}
        self.told = [done for number in range(len(source.shards)) if (done := source.done(number)) is not None]
        self.made = [source.path(number).with_suffix(".json").stat().st_mtime_ns for number in range(len(source.shards))]
        self.failures = {name: why for done in self.told for name, why in source.failures(done)}
        self._read: dict[int, dict[str, Item]] = {}

    def make(self, number: int) -> None:
        """Write one shard, unless it is there and the shards that it is made of are no newer."""
        names, path = self.new.shards[number], self.new.path(number)
        homes, beside = sorted({self.homes[name] for name in names}), path.with_suffix(".json")
        # what changed after the oldest of them was made is to be looked at by the next `tokenize`
        made = min(self.made[home] for home in homes)
        if self.new.done(number) is not None and beside.stat().st_mtime_ns == made:
            return
        beside.unlink(missing_ok=True)
        found = {home: self._items(home) for home in homes}
        self._read = found
        items = [item for name in names if (item := found[self.homes[name]].get(name)) is not None]
        with atomic_path(path) as partial:
            write_shard(partial, self.new.about, items, number)
        seconds = sum(item.n_samples for item in items) / self.new.about.sample_rate
        failures = [[name, self.failures[name]] for name in names if name in self.failures]
        self.new.finish(Done(number, len(items), seconds, path.stat().st_size, failures))
        os.utime(beside, ns=(made, made))

    def _items(self, number: int) -> dict[str, Item]:
        """Return the items of an old shard by their names in the plan: recordings that could not be tokenised have none."""
        if number in self._read:
            return self._read[number]
        path = self.source.path(number)
        about, items = read_shard(path)
        named, waiting = dict[str, Item](), iter([*items, None])
        item = next(waiting)
        for name in self.source.shards[number]:
            if item is not None and item.path == as_text(original(name)):
                named[name], item = item, next(waiting)
        if item is not None or about != self.source.about:
            raise TokenFileError(
                f"{path} holds other recordings or tokens than the folder says: make it anew with `codec tokenize`"
            )
        return named
