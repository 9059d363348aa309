"""Which recordings go into which shard, and which shards are done: what makes a run that was killed go on without loss.

The plan, a line of `plan.jsonl` per shard, is written before the first shard and only ever grows. A shard is written beside its
place and moved there, then its `.json` says that it is done. Whatever moment a run is killed at, the next makes anew what lacks
its `.json`, out of the same recordings, into the same bytes.
"""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..codecs.errors import CheckpointError, TokenFileError, TonemeError
from ..codecs.files import atomic_path
from .shard_item import About

MOST_FILES, FEWEST_SHARDS = 1000, 16


@dataclass(frozen=True)
class Done:
    """What the `.json` beside a shard says: its items, seconds of audio, bytes, and [path, why] of each file that failed."""

    number: int
    items: int
    seconds: float
    n_bytes: int
    failures: list[list[str]]


class ShardFolder:
    """A folder of shards: `shards.json` (what they are), `plan.jsonl`, and per shard its file and its `.json`."""

    def __init__(self, folder: Path, about: About, suffix: str, shards: list[list[str]]) -> None:
        self.folder, self.about, self.suffix, self.shards = folder, about, suffix, shards

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
            return cls(folder, About.from_json(json.dumps(told["about"]), f"{folder}/shards.json"), told["suffix"], shards)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TokenFileError(f"{folder} is no folder of shards ({error}): make one with `codec tokenize`") from None

    @classmethod
    def plan(
        cls, folder: Path, about: About, suffix: str, files: Sequence[str], files_per_shard: int | None = None
    ) -> "ShardFolder":
        """Return the folder with a plan that holds all files: a new one, or what was there with new files added.

        Raises:
            CheckpointError: if what is there was made by another codec, depth or format.
        """
        folder.mkdir(parents=True, exist_ok=True)
        there = cls.open(folder) if (folder / "shards.json").exists() else cls(folder, about, suffix, [])
        if there.about != about or there.suffix != suffix:
            old, new = ((a.codebooks, a.codec, a.weights_hash, s) for a, s in ((there.about, there.suffix), (about, suffix)))
            raise CheckpointError(
                f"{folder} holds shards of {old[0]} codebooks of {old[1]} with weights {old[2]} as {old[3]}; "
                f"got {new[0]} of {new[1]} with {new[2]} as {new[3]}: name another folder"
            )
        known = {name for shard in there.shards for name in shard}
        new = [name for name in files if name not in known]
        size = files_per_shard or max(1, min(MOST_FILES, math.ceil(len(new) / FEWEST_SHARDS)))
        there.shards += [new[i : i + size] for i in range(0, len(new), size)]
        with atomic_path(folder / "plan.jsonl") as partial:
            partial.write_text("".join(json.dumps(shard) + "\n" for shard in there.shards))
        with atomic_path(folder / "shards.json") as partial:
            partial.write_text(json.dumps({"about": json.loads(about.to_json()), "suffix": suffix}, indent=1) + "\n")
        return there

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

    def summary(self) -> dict[str, Any]:
        """Return figures of all shards that are done: plain JSON types."""
        done = [told for number in range(len(self.shards)) if (told := self.done(number)) is not None]
        return {
            "shards": len(done), "items": sum(told.items for told in done), "seconds": math.fsum(told.seconds for told in done),
            "bytes": sum(told.n_bytes for told in done),
            "failures": [{"path": path, "error": why} for told in done for path, why in told.failures],
        }  # fmt: skip

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out; what killed ones left half-written is removed.

        Raises:
            TonemeError: if another run works on the folder.
        """
        with (self.folder / ".lock").open("w") as lock:
            try:
                import fcntl

                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except ImportError:  # no such locks on this system: two runs at once would only do the same work twice
                pass
            except OSError:
                raise TonemeError(f"another run writes to {self.folder}: wait for its end, or name another folder") from None
            self._sweep()
            try:
                yield
            finally:
                self._sweep()

    def _sweep(self) -> None:
        for left in self.folder.glob(".*.part*"):
            left.unlink(missing_ok=True)
