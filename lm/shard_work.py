"""One worker's part of `codec tokenize`: recordings to shards, in batches of like lengths, read ahead of the codec."""

import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..codecs.audio import AudioReader, AudioWarning
from ..codecs.errors import AudioError, TonemeError
from ..codecs.files import atomic_path, sha256_of
from .batching import in_batches
from .shard_formats import write_shard
from .shard_item import Item
from .shard_plan import Done, ShardFolder
from .variants import original, vary

if TYPE_CHECKING:
    from ..codecs.base import Codec

LONG_SECONDS = 60.0  # recordings from here on are coded as they are read, in constant memory
SHORT_SECONDS = 5.0  # recordings up to here are read when their length is asked for: to open them twice costs as much
EARLY = 1 << 24  # samples of them that a worker on a CPU keeps, 64 MB; a GPU would wait for them
EACH = 1 / 20  # what a batch costs beside its samples, as a share of the largest: a second on a CPU, measured with our codec
AHEAD = 3  # batches that are read while one is coded

A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T")
Progress = Callable[[int, float], None]  # recordings done, seconds of audio in them


@dataclass(frozen=True)
class Settings:
    """How a worker works.

    Attributes:
        root: folder that paths are below.
        batch_seconds: audio in a batch, padding included.
        readers: threads that read ahead.
        salvage: take what is there of recordings that end before their header says.
        early: samples of short recordings that are kept from when their lengths were asked for.
    """

    root: Path
    batch_seconds: float = 20.0
    readers: int = 2
    salvage: bool = False
    early: int = EARLY


@dataclass(frozen=True)
class Heard:
    """A recording that was read: audio [channels, samples] at the codec's rate, and the hash of its file."""

    audio: Tensor
    sha256: str


class Worker:
    """Makes shards with a codec that is loaded once."""

    def __init__(self, codec: "Codec", folder: ShardFolder, settings: Settings) -> None:
        self.codec, self.folder, self.settings = codec, folder, settings
        self.spec = codec.spec  # made anew each time that it is asked for
        self._early: dict[str, Heard] = {}
        self._room, self._lock = 0, Lock()

    def make(self, number: int, progress: Progress = lambda files, seconds: None) -> Done:
        """Make one shard, whole or not at all, and return what is in it."""
        names = self.folder.shards[number]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AudioWarning)  # _check_end tells of files that are cut
            results = dict(self._results(names, progress))
        items = [result for name in names if isinstance(result := results[name], Item)]
        failures = [[name, why] for name in names if name == original(name) and isinstance(why := results[name], str)]
        path = self.folder.path(number)
        with atomic_path(path) as partial:
            write_shard(partial, self.folder.about, items, number)
        seconds = sum(item.n_samples for item in items) / self.folder.about.sample_rate
        done = Done(number, len(items), seconds, path.stat().st_size, failures)
        self.folder.finish(done)
        return done

    def _results(self, names: list[str], progress: Progress) -> Iterator[tuple[str, Item | str]]:
        """Yield each recording's item, or why there is none, in any order."""
        self._early, self._room = {}, self.settings.early
        with ThreadPoolExecutor(self.settings.readers) as pool:
            lengths = dict(zip(names, pool.map(self._length, names), strict=True))
            for name in [name for name in names if isinstance(lengths[name], str)]:
                yield name, str(lengths.pop(name))
                progress(1, 0.0)
            batches, long = self._batches({name: n for name, n in lengths.items() if isinstance(n, int)})
            for batch, heard in _ahead(pool, self._read, batches):
                results = self._encode(batch, heard)
                yield from zip(batch, results, strict=True)
                progress(len(batch), sum(map(self._seconds, results)))
        for name in long:
            result = self._attempt(name, lambda name=name: self._encode_long(name))
            yield name, result
            progress(1, self._seconds(result))

    def _seconds(self, result: Item | str) -> float:
        return result.n_samples / self.folder.about.sample_rate if isinstance(result, Item) else 0.0

    # -- reading ------------------------------------------------------------------------------------------------

    def _length(self, name: str) -> int | str:
        """Return the samples that a recording claims at the codec's rate (-1 where it does not), or why it cannot be read."""
        return self._attempt(name, lambda: self._claimed(name))

    def _claimed(self, name: str) -> int:
        with self._open(name) as reader:
            n = reader.n_samples
            if n is None:
                return -1
            if n <= SHORT_SECONDS * reader.sample_rate and self._fits(n * reader.channels):
                self._early[name] = self._heard(name, reader)
            return n

    def _fits(self, values: int) -> bool:
        """Whether so many samples more can be kept, which is then taken as done."""
        with self._lock:
            fits = values <= self._room
            self._room -= values * fits
            return fits

    def _batches(self, lengths: dict[str, int]) -> tuple[list[list[str]], list[str]]:
        """Return batches of recordings of like lengths, longest first, and those that are too long for one."""
        rate = self.folder.about.sample_rate
        most, order = self.settings.batch_seconds * rate, sorted(lengths, key=lambda name: (lengths[name], name))
        limit = max(most, LONG_SECONDS * rate)
        short = [name for name in order if 0 <= lengths[name] <= limit]
        parts = in_batches([lengths[name] for name in short], most, most * EACH)
        batches = [short[part.start : part.stop] for part in reversed(parts)]  # memory runs out at once or never
        return batches, [name for name in order if not 0 <= lengths[name] <= limit]

    def _read(self, names: list[str]) -> list[Heard | str]:
        return [self._attempt(name, lambda name=name: self._hear(name)) for name in names]

    def _hear(self, name: str) -> Heard:
        if name in self._early:
            return self._early.pop(name)
        with self._open(name) as reader:
            return self._heard(name, reader)

    def _heard(self, name: str, reader: AudioReader) -> Heard:
        blocks = list(reader)
        self._check_end(reader)
        hop = max(stream.hop for stream in self.spec.streams)
        audio = blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=-1)
        return Heard(vary(audio, reader.sample_rate, hop, name), self._hash(name))

    def _open(self, name: str) -> AudioReader:
        return AudioReader(self.settings.root / original(name), self.spec.sample_rate, self.spec.channels)

    def _check_end(self, reader: AudioReader) -> None:
        if not reader.n_samples:
            raise AudioError(f"{reader.name} holds no samples: record or fetch it again")
        if reader.truncated and not self.settings.salvage:
            raise AudioError(f"{reader.name} ends before its header says: fetch it again, or take what is there with --salvage")

    def _hash(self, name: str) -> str:
        return sha256_of(self.settings.root / original(name))

    def _attempt(self, name: str, work: Callable[[], T]) -> T | str:
        """Return the result of some work on a recording, or one sentence about why there is none."""
        try:
            return work()
        except TonemeError as error:
            return " ".join(str(error).split())
        except OSError as error:
            return f"{original(name)} cannot be read ({error.strerror or error}): check the file and the device"

    # -- coding -------------------------------------------------------------------------------------------------

    def _encode(self, names: list[str], heard: list[Heard | str]) -> list[Item | str]:
        good = [(name, result) for name, result in zip(names, heard, strict=True) if isinstance(result, Heard)]
        try:
            coded = dict(zip((name for name, _ in good), self._encode_batch(good), strict=True)) if good else {}
        except TonemeError:  # one item that the codec refuses must not take the others with it
            coded = {name: self._attempt(name, lambda pair=(name, one): self._encode_batch([pair])[0]) for name, one in good}
        return [coded[name] if name in coded else str(result) for name, result in zip(names, heard, strict=True)]

    def _encode_batch(self, batch: list[tuple[str, Heard]]) -> list[Item]:
        waveform, lengths = padded([one.audio for _, one in batch])
        about = self.folder.about
        tokens = self.codec.encode(waveform.to(self.codec.device), lengths=lengths, codebooks=about.codebooks).to("cpu")
        return [Item.of(tokens, i, original(name), one.sha256, about.dtype) for i, (name, one) in enumerate(batch)]

    def _encode_long(self, name: str) -> Item:
        codec, about = self.codec, self.folder.about
        sees_all = not self.spec.causal and self.spec.receptive_field is None  # its stream sees less than the whole
        if sees_all or name != original(name):
            return self._encode_batch([(name, self._hear(name))])[0]
        encoder = codec.stream_encoder(codebooks=about.codebooks)
        with self._open(name) as reader:
            pieces = [encoder.push_tokens(block[None].to(codec.device)) for block in reader]
            self._check_end(reader)
        pieces = [Item.of(piece, 0, name, "", about.dtype) for piece in (*pieces, encoder.flush_tokens())]
        streams = tuple(np.concatenate(parts, axis=-1) for parts in zip(*(piece.streams for piece in pieces), strict=True))
        side = {key: np.concatenate([piece.side[key] for piece in pieces]) for key in about.side}
        return Item(name, self._hash(name), encoder.n_samples, streams, side)


def padded(audio: list[Tensor]) -> tuple[Tensor, list[int]]:
    """Return items [channels, samples] as a batch with zeros behind the shorter ones, and the samples of each."""
    lengths = [one.shape[-1] for one in audio]
    batch = np.zeros((len(audio), audio[0].shape[0], max(lengths)), np.float32)
    for row, one, n in zip(batch, audio, lengths, strict=True):
        row[:, :n] = one.numpy()  # a third of the time of PyTorch's assignments
    return torch.from_numpy(batch), lengths


def _ahead(pool: ThreadPoolExecutor, work: Callable[[A], B], jobs: list[A]) -> Iterator[tuple[A, B]]:
    """Yield jobs and their results in order, `AHEAD` of them worked on beforehand."""
    waiting: list[tuple[A, Future[B]]] = []
    for job in jobs:
        waiting.append((job, pool.submit(work, job)))
        if len(waiting) > AHEAD:
            first, result = waiting.pop(0)
            yield first, result.result()
    for first, result in waiting:
        yield first, result.result()


def cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
