"""Which recordings go into which shard, and which shards are done: what makes a run that was killed go on without loss.

The plan, a line of `plan.jsonl` per shard, is written before the first shard. It only ever grows, except that recordings which
have changed since move to a new line (those that could not be read, and those whose files have other hashes now), and that
those which are gone are taken out where that is asked for. A shard is written beside its place and moved there, then its
`.json` says that it is done. Whatever moment a run is killed at, the next makes anew what lacks its `.json`, out of the same
recordings, into the same bytes.
"""

import json
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..codecs.errors import CheckpointError, TokenFileError, TonemeError
from ..codecs.files import atomic_path, sha256_of
from .shard_formats import read_shard, write_shard
from .shard_item import About, Item, as_text
from .variants import original

MOST_FILES, FEWEST_SHARDS = 1000, 16
CARD = """---
configs:
- config_name: default
  data_files: "*{suffix}"
---
Recordings as tokens: {codebooks} codebooks of {codec} with weights {weights_hash}, written by `codec tokenize`, to be read with
`toneme.lm.read_shards` or Hugging Face's `datasets.load_dataset`.
"""


@dataclass(frozen=True)
class Done:
    """What the `.json` beside a shard says: its items, seconds of audio, bytes, and [path, why] of each file that failed."""

    number: int
    items: int
    seconds: float
    n_bytes: int
    failures: list[list[str]]


class ShardFolder:
    """A folder of shards: `shards.json` (what they are), `plan.jsonl`, `README.md`, and per shard its file and its `.json`.

    Attributes:
        folder: of the shards.
        about: what they are.
        suffix: of their format.
        shards: the recordings of each, as paths below `root`.
        root: the folder of the recordings when they were last tokenised, "" where that is not known.
        size: recordings in a shard as the first run was told, None for as many as make at least 16, 0 where that is not known.
        renewed: recordings whose tokens `plan` took out, since other audio stands under their names now.
        dropped: recordings that `plan` took out, since they are gone.
    """

    def __init__(
        self, folder: Path, about: About, suffix: str, shards: list[list[str]], root: str = "", size: int | None = None
    ) -> None:
        self.folder, self.about, self.suffix, self.shards, self.root, self.size = folder, about, suffix, shards, root, size
        self.renewed: list[str] = []
        self.dropped: list[str] = []

    @classmethod
    def open(cls, folder: str | Path) -> "ShardFolder":
        """Read a folder's plan.

        Raises:
            TokenFileError: if it is no folder of shards, or damaged.
        """
        folder = Path(folder)
        try:
            told = json.loads((folder / "shards.json").read_text())
            shards = [json.loads(line) for line in (folder / "plan.jsonl").read_text().splitlines()]
            about = About.from_json(json.dumps(told["about"]), f"{folder}/shards.json")
            return cls(folder, about, told["suffix"], shards, told.get("root", ""), told.get("files_per_shard", 0))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TokenFileError(f"{folder} is no folder of shards ({error}): make one with `codec tokenize`") from None

    @classmethod
    def plan(
        cls,
        folder: Path,
        about: About,
        suffix: str,
        files: Sequence[str],
        files_per_shard: int | None = None,
        root: str = "",
        drop_missing: bool = False,
    ) -> "ShardFolder":
        """Return the folder with a plan that holds all files: a new one, or what was there with new files added.

        Args:
            folder: of the shards.
            about: what they are to be.
            suffix: of their format.
            files: what is to be in them, below `root`.
            files_per_shard: as what is there, by default; in a new folder at most 1000, for at least 16 shards.
            root: the folder of the recordings.
            drop_missing: take out the recordings that are not below `root` any more.

        Raises:
            CheckpointError: if what is there was made by another codec, depth or format.
            TonemeError: if what is there was cut into shards of another size.
        """
        folder.mkdir(parents=True, exist_ok=True)
        new_folder = not (folder / "shards.json").exists()
        there = cls(folder, about, suffix, [], root, files_per_shard) if new_folder else cls.open(folder)
        if there.about != about or there.suffix != suffix:
            old, new = ((a.codebooks, a.codec, a.weights_hash, s) for a, s in ((there.about, there.suffix), (about, suffix)))
            raise CheckpointError(
                f"{folder} holds shards of {old[0]} codebooks of {old[1]} with weights {old[2]} as {old[3]}; "
                f"got {new[0]} of {new[1]} with {new[2]} as {new[3]}: name another folder"
            )
        there.size = there._size(files_per_shard)
        there._take_back(Path(root), set(files))
        kept, again = there._take_out(Path(root), set(files), drop_missing)
        known = {name for shard in there.shards for name in shard}
        new = [name for name in dict.fromkeys([*files, *again]) if name not in known]
        there.shards += cut(new, there.size)
        there._save_plan()
        for number, items in kept.items():
            there._rewrite(number, items)
        there.root = root or there.root
        there._save_about()
        return there

    @classmethod
    def begin(
        cls, folder: Path, about: About, suffix: str, shards: list[list[str]], root: str, size: int | None
    ) -> "ShardFolder":
        """Return a folder whose plan is given: a new one, or the one that is there where it has the very same plan.

        Raises:
            TonemeError: if shards of another plan are there.
        """
        folder.mkdir(parents=True, exist_ok=True)
        there = cls(folder, about, suffix, shards, root, size)
        if (folder / "shards.json").exists():
            old = cls.open(folder)
            if (old.about, old.suffix, old.shards) != (about, suffix, shards):
                raise TonemeError(f"{folder} holds other shards, or others were made of them since: name another folder")
        there._save_plan()
        there._save_about()
        return there

    def _size(self, files_per_shard: int | None) -> int | None:
        """Return the recordings of a shard that is added, as `size` says it.

        Raises:
            TonemeError: if another size is asked for.
        """
        largest = max(map(len, self.shards), default=0)
        if files_per_shard is None or files_per_shard == self.size or not largest:
            return files_per_shard or self.size
        if self.size == 0 and (largest == files_per_shard or (len(self.shards) == 1 and largest < files_per_shard)):
            return files_per_shard
        raise TonemeError(
            f"{self.folder} was cut into shards of up to {self.size or largest} recordings; got {files_per_shard} for each: "
            f"leave that out, or cut them anew with `codec shards {self.folder} -o NEW --files-per-shard {files_per_shard}`"
        )

    def _save_plan(self) -> None:
        with atomic_path(self.folder / "plan.jsonl") as partial:
            partial.write_text("".join(json.dumps(shard) + "\n" for shard in self.shards))

    def _save_about(self) -> None:
        told = {"about": json.loads(self.about.to_json()), "suffix": self.suffix, "root": self.root}
        told |= {} if self.size == 0 else {"files_per_shard": self.size}
        with atomic_path(self.folder / "shards.json") as partial:
            partial.write_text(json.dumps(told, indent=1) + "\n")
        self._describe()

    def _take_back(self, root: Path, wanted: set[str]) -> None:
        """Take recordings out of the plan that could not be read when their shard was made, and have changed since."""
        done = [told for number in range(len(self.shards)) if (told := self.done(number)) is not None]
        changed = {name: _changed(root / name) for told in done for name, _ in told.failures}
        for number in (told.number for told in done) if changed else ():
            made = self.path(number).with_suffix(".json").stat().st_mtime
            # variants, which may lie in other shards than what they are of, failed with it
            again = {name for name in self.shards[number] if name in wanted and changed.get(original(name), 0.0) > made}
            self.shards[number] = [name for name in self.shards[number] if name not in again]

    def _take_out(
        self, root: Path, wanted: set[str], drop_missing: bool
    ) -> tuple[dict[int, tuple[Done, list[Item]]], list[str]]:
        """Take recordings out of the plan whose files have other hashes than when they were tokenised, or are gone.

        Their shards count as missing from here on: a run that is killed before they are written anew makes them anew.

        Returns:
            what is left in each such shard, and what is to be tokenised again, variants too.
        """
        gone = {as_text(name) for name in gone_of(self.shards, root)} if drop_missing else set[str]()
        self.dropped = sorted(gone)
        kept, again, hashes = dict[int, tuple[Done, list[Item]]](), list[str](), dict[str, str]()
        for number in range(len(self.shards)):
            told, beside = self.done(number), self.path(number).with_suffix(".json")
            made = 0.0 if told is None else beside.stat().st_mtime
            names = {original(name) for name in self.shards[number]} & wanted if told is not None else set[str]()
            newer = {as_text(name): name for name in names if _changed(root / name) > made}
            left = [name for name in self.shards[number] if as_text(original(name)) not in gone]
            fewer, self.shards[number] = len(left) < len(self.shards[number]), left
            if told is None or not (newer or fewer):
                continue
            try:
                items = read_shard(self.path(number))[1]
            except TokenFileError:  # it is to be made anew then, of what is there now
                beside.unlink()
                continue
            suspects = {item.path: item.sha256 for item in items if item.path in newer}
            hashes |= {path: _hash(root / newer[path], sha) for path, sha in suspects.items() if path not in hashes}
            other = {path for path, sha in suspects.items() if hashes[path] != sha}
            if other or fewer:
                beside.unlink()
                kept[number] = told, [item for item in items if item.path not in other | gone]
                again += [name for name in self.shards[number] if as_text(original(name)) in other]
                self.shards[number] = [name for name in self.shards[number] if as_text(original(name)) not in other]
            else:
                os.utime(beside)  # touched or copied, and still the same: not to be read for it again
        self.renewed = list(dict.fromkeys(original(name) for name in again))
        return kept, again

    def _rewrite(self, number: int, kept: tuple[Done, list[Item]]) -> None:
        (told, items), path = kept, self.path(number)
        with atomic_path(path) as partial:
            write_shard(partial, self.about, items, number)
        seconds = sum(item.n_samples for item in items) / self.about.sample_rate
        self.finish(Done(number, len(items), seconds, path.stat().st_size, told.failures))

    def _describe(self) -> None:
        """Write the card that says to `datasets` which of the files are data, unless somebody wrote another."""
        path, about = self.folder / "README.md", self.about
        if self.suffix != ".npz" and not path.exists():
            with atomic_path(path) as partial:
                told = {"codebooks": about.codebooks, "codec": about.codec, "weights_hash": about.weights_hash}
                partial.write_text(CARD.format(suffix=self.suffix, **told), encoding="utf-8")

    def path(self, number: int) -> Path:
        """Return where a shard stands."""
        return self.folder / f"shard-{number:06d}{self.suffix}"

    def done(self, number: int) -> Done | None:
        """Return what is known of a shard that is done, None of others."""
        try:
            told = Done(**json.loads(self.path(number).with_suffix(".json").read_text()))
            return told if self.path(number).stat().st_size == told.n_bytes else None
        except (OSError, ValueError, TypeError):  # not written yet, or cut by a full disk: it will be made anew
            return None

    def missing(self) -> list[int]:
        """Return the shards that are not done."""
        return [number for number in range(len(self.shards)) if self.done(number) is None]

    def finish(self, done: Done) -> None:
        """Say that a shard is done."""
        with atomic_path(self.path(done.number).with_suffix(".json")) as partial:
            partial.write_text(json.dumps(done.__dict__) + "\n")

    def failures(self, done: Done) -> list[list[str]]:
        """Return [path, why] of what failed in a shard, save what was taken back since."""
        return [failure for failure in done.failures if failure[0] in self.shards[done.number]]

    def summary(self) -> dict[str, Any]:
        """Return figures of all shards that are done: plain JSON types."""
        done = [told for number in range(len(self.shards)) if (told := self.done(number)) is not None]
        failed = [failure for told in done for failure in self.failures(told)]
        return {
            "shards": len(done), "items": sum(told.items for told in done), "seconds": math.fsum(told.seconds for told in done),
            "bytes": sum(told.n_bytes for told in done),
            "failures": [{"path": path, "error": why} for path, why in failed],
        }  # fmt: skip


def cut(names: list[str], size: int | None) -> list[list[str]]:
    """Return names in shards of a size, by default of at most 1000, for at least 16 shards."""
    size = size or max(1, min(MOST_FILES, math.ceil(len(names) / FEWEST_SHARDS)))
    return [names[i : i + size] for i in range(0, len(names), size)]


def gone_of(shards: Sequence[Sequence[str]], root: Path) -> set[str]:
    """Return the recordings of a plan that are not below their folder any more."""
    return {name for name in {original(name) for shard in shards for name in shard} if not (root / name).exists()}


def _changed(path: Path) -> float:
    """Return when a file was last written or put in its place, in seconds; 0 where there is none."""
    try:
        told = path.stat()
    except OSError:
        return 0.0
    return max(told.st_mtime, told.st_ctime)


def _hash(path: Path, otherwise: str) -> str:
    """Return the hash of a recording's file, `otherwise` where it cannot be read: what was made of it is kept then."""
    try:
        return sha256_of(path)
    except OSError:
        return otherwise


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder of shards, which is made if need be; what killed ones left half-written is removed.

    Raises:
        TonemeError: if another run works on the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        alone = _lock(lock, folder)
        if alone:
            _sweep(folder)
        try:
            yield
        finally:
            if alone:
                _sweep(folder)


def _lock(file: IO[str], folder: Path) -> bool:
    """Lock a file; False where the system, or the file system, has no such locks, as Lustre by default.

    Two runs at once then do the same work twice, and must leave alone what the other has half-written.
    """
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        raise TonemeError(f"another run writes to {folder}: wait for its end, or name another folder") from None
    except (ImportError, OSError):
        return False
    return True


def _sweep(folder: Path) -> None:
    for left in folder.glob(".*.part*"):
        left.unlink(missing_ok=True)
