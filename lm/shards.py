"""Reading shards of tokens: all of them as a list or a PyTorch dataset, or as an endless shuffled stream over many workers."""

import random
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch.distributed
from torch.utils.data import IterableDataset, get_worker_info

from ..codecs.counts import whole
from ..codecs.errors import CheckpointError, CodecNotFoundError, TokenFileError
from ..codecs.registry import load
from ..codecs.tokens import Tokens
from .shard_formats import read_lengths, read_shard
from .shard_item import Item
from .shard_plan import ShardFolder

if TYPE_CHECKING:
    from ..codecs.base import Codec

KEPT = 1 << 28  # bytes of shards that were read, for each process
ITEM = 2000  # bytes of an item beside its codes: strings, and Python's objects


def read_shards(folder: str | Path, codec: "Codec | str | None" = None, partial: bool = False) -> "TokenShards":
    """Open a folder of shards that `codec tokenize` wrote.

    Args:
        folder: of the shards.
        codec: that the tokens must be of: as loaded, what `toneme.load` takes (its very weights count then), or only its name.
        partial: take the shards that are done though others are missing.

    Raises:
        CheckpointError: if another codec, or other weights, made the tokens.
        TokenFileError: if it is no folder of shards, or shards are missing.
    """
    shards = ShardFolder.open(folder)
    if codec is not None:
        shards.about.check(_known(codec, shards.about.codec), str(folder))
    missing = shards.missing()
    if missing and not partial:
        raise TokenFileError(
            f"{folder} lacks {len(missing)} of {len(shards.shards)} shards, which `codec tokenize` did not finish: "
            "run it again, or pass partial=True"
        )
    return TokenShards(shards, [number for number in range(len(shards.shards)) if number not in set(missing)])


def _known(codec: "Codec | str", expected: str) -> "Codec | str":
    """Return the codec that another name than the expected one stands for: an alias, or a folder."""
    if not isinstance(codec, str) or codec == expected:
        return codec
    with suppress(CodecNotFoundError):
        return load(codec)
    return codec


class TokenShards:
    """Shards as a list of tokens, one item each; a map-style dataset for `torch.utils.data.DataLoader`.

    The tokens' metadata has the recording's `path` and `sha256`. Shards that were read are kept in memory up to `KEPT` bytes in
    each process, so that samplers may go through them in any order; beyond that, go in order, or shuffle with `TokenStream`.
    `collate` makes batches of them.

    Attributes:
        about: what the tokens are.
        seconds: of audio.
        failures: [path, why] of recordings that could not be tokenised.
    """

    def __init__(self, folder: ShardFolder, numbers: list[int]) -> None:
        self.folder, self.about, self.numbers = folder, folder.about, numbers
        told = [done for number in numbers if (done := folder.done(number)) is not None]
        self.failures = [failure for done in told for failure in folder.failures(done)]
        self.seconds = sum(done.seconds for done in told)
        self._counts = [done.items for done in told]
        self._kept: OrderedDict[int, list[Item]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return sum(self._counts)

    @cached_property
    def lengths(self) -> list[int]:
        """Frames of each item (of its first stream), for samplers that put items of like lengths together.

        Raises:
            TokenFileError: if a shard is damaged.
        """
        found = [read_lengths(self.folder.path(number)) for number in self.numbers]
        for number, lengths, count in zip(self.numbers, found, self._counts, strict=True):
            if len(lengths) != count:
                path = self.folder.path(number)
                raise TokenFileError(f"{path} holds {len(lengths)} items, not {count}: run `codec tokenize` on it again")
        return [frames for lengths in found for frames in lengths]

    def __getitem__(self, index: int) -> Tokens:
        """Return one recording's tokens."""
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        for number, count in zip(self.numbers, self._counts, strict=True):
            if place < count:
                return self.items(number)[place].tokens(self.about)
            place -= count
        raise IndexError(f"item {index} of {len(self)}")

    def __iter__(self) -> Iterator[Tokens]:
        for number in self.numbers:
            for item in self.items(number):
                yield item.tokens(self.about)

    def items(self, number: int) -> list[Item]:
        """Return the items of one shard.

        Raises:
            CheckpointError: if the shard's tokens are not what the folder says.
            TokenFileError: if it is damaged.
        """
        if number not in self._kept:
            items = self._read(number)
            self._bytes += _size(items)
            while self._kept and self._bytes > KEPT:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= _size(oldest)
            self._kept[number] = items
        self._kept.move_to_end(number)
        return self._kept[number]

    def _read(self, number: int) -> list[Item]:
        path = self.folder.path(number)
        about, items = read_shard(path)
        if about != self.about:
            theirs, ours = (f"{a.codebooks} codebooks of {a.codec} with weights {a.weights_hash}" for a in (about, self.about))
            raise CheckpointError(f"{path} holds {theirs}, and the folder's shards {ours}: take it out and run again")
        return items

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process makes the same list of: it reads shards itself."""
        return {**self.__dict__, "_kept": OrderedDict(), "_bytes": 0}

    def stream(self, seed: int = 0, epochs: int | None = None) -> "TokenStream":
        """Return the items shuffled, again and again or for so many epochs, shared out to workers and ranks."""
        return TokenStream(self, seed, epochs)


def _size(items: list[Item]) -> int:
    """Return about how many bytes items take: their numbers, and the rest of each."""
    return sum(ITEM + sum(codes.nbytes for codes in item.streams) for item in items)


class TokenStream(IterableDataset):
    """Items of shards in random order: shards are shuffled, and items within each.

    Every worker of a `DataLoader`, and every rank where `torch.distributed` is up, gets shards of its own, or items of its own
    where there are fewer shards than workers. Their numbers of items differ: ranks that wait for one another at every step take
    an endless stream and count steps, and not `epochs`, of which one rank would come to the end before the others.

    Going through a stream once more gives the same order, unless `set_epoch` says which epoch is the first.
    """

    def __init__(self, shards: TokenShards, seed: int = 0, epochs: int | None = None) -> None:
        super().__init__()
        self.shards, self.seed, self.epochs, self.first = shards, seed, epochs, 0

    def set_epoch(self, epoch: int) -> None:
        """Begin with this epoch's order from the next time on, as `DistributedSampler.set_epoch`; trainers call it."""
        self.first = whole(epoch, "an epoch")

    def __iter__(self) -> Iterator[Tokens]:
        epoch, given = self.first, True
        while given and (
            self.epochs is None or epoch < self.first + self.epochs
        ):  # a worker that has no part must not wait for one
            given = False
            for item in self._epoch(random.Random(f"{self.seed} {epoch}")):
                given = True
                yield item.tokens(self.shards.about)
            epoch += 1

    def _epoch(self, order: random.Random) -> Iterator[Item]:
        """Yield each item of this worker's part once."""
        (part, parts), numbers = self._part(), list(self.shards.numbers)
        order.shuffle(numbers)
        by_shard = len(numbers) >= parts
        for number in numbers[part::parts] if by_shard else numbers:
            items = list(self.shards.items(number))
            order.shuffle(items)
            yield from items if by_shard else items[part::parts]

    def _part(self) -> tuple[int, int]:
        info, rank, ranks = get_worker_info(), 0, 1
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
        workers = 1 if info is None else info.num_workers
        return rank * workers + (0 if info is None else info.id), ranks * workers
