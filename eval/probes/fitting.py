"""Fitting: a probe learns one split of a task with one seed, for a fixed budget, and is tested once at its end.

Nothing is chosen by the test: budget, sizes and rates are the same for all inputs. Equal seeds give equal figures on one
machine's processor.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, ctc_loss
from torch.nn.utils.rnn import pad_sequence

from ...codecs.errors import MissingDependencyError, TonemeError, how_to_install
from ..jobs import Job, Results
from ..reconstruction import package_version
from .features import Features
from .probe import Classifier, CodeFront, FeatureFront, Transcriber
from .tasks import Split, Task

READ_RATE = 25.0  # Hz of frames that characters are read from, about


@dataclass(frozen=True)
class Budget:
    """Steps of AdamW, items of each, the highest learning rate of one cycle, seeds of what is drawn; version of the probe."""

    steps: int
    batch: int
    rate: float
    seeds: tuple[int, ...]
    version: str = "2"


CLASSES = Budget(steps=400, batch=32, rate=4e-3, seeds=(0, 1, 2))
CHARACTERS = Budget(steps=1500, batch=16, rate=3e-3, seeds=(0,), version="3")


@dataclass(frozen=True)
class FitJob(Job):
    """All splits and seeds of one task from one kind of features.

    Results hold the tested items and, by metric, errors or hits of each with what they are counted out of.
    """

    task: Task
    features: Features
    budget: Budget

    @property
    def keys(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """One per split and seed."""
        return tuple(self.key(split, seed) for split in self.task.splits for seed in self.seeds)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Those of the budget; of three folds or more, which are repeats themselves, the first alone."""
        return self.budget.seeds[: 1 if len(self.task.splits) > 2 else None]

    def key(self, split: Split, seed: int) -> str:
        """Return the key of a split's result with a seed."""
        budget = f"{self.budget.steps} {self.budget.batch} {self.budget.rate}"
        known = f"{package_version()}|{self.budget.version}|{budget}|{self.features.identity}"
        return f"probe|{known}|{self.task.name} {self.task.identity}|{split.name}|{seed}"

    def run(self, wanted: frozenset[str], device: str) -> Results:
        """Read the features once and fit what is wanted."""
        inputs, failures = self._inputs(device)
        found: Results = {}
        for split in self.task.splits:
            for seed in self.seeds:
                if (key := self.key(split, seed)) in wanted:
                    found[key] = self._fit(split, seed, inputs, failures, device)
        return found

    def _inputs(self, device: str) -> tuple[dict[int, Tensor], dict[int, str]]:
        inputs, failures = dict[int, Tensor](), dict[int, str]()
        for i, clip in enumerate(self.task.clips):
            try:
                inputs[i] = self.features.read(clip, device)
            except TonemeError as error:
                failures[i] = str(error)
            else:
                if not len(inputs[i]):
                    failures[i] = f"{clip.name} gives no frame: it is too short"
                    del inputs[i]
        return inputs, failures

    def _fit(self, split: Split, seed: int, inputs: dict[int, Tensor], failures: dict[int, str], device: str) -> Any:
        train, test = ([i for i in part if i in inputs] for part in (split.train, split.test))
        if not test or len({self.task.labels[i] for i in train}) < 2:
            why = next(iter(failures.values()), "no clip")
            return {"error": f"too few clips of {self.task.label}, {split.name}, give {self.features.label} features: {why}"}
        known = {"test": test, "failures": {self.task.clips[i].name: failures[i] for i in split.test if i in failures}}
        part = Part(
            [inputs[i] for i in train], [self.task.labels[i] for i in train],
            [inputs[i] for i in test], [self.task.labels[i] for i in test],
        )  # fmt: skip
        fit = fit_characters if self.task.speech else fit_classes
        return known | fit(part, self.features, self.budget, seed, device)


@dataclass(frozen=True)
class Part:
    """Inputs [frames, ...] and labels to learn from and to be tested on."""

    train: list[Tensor]
    labels: list[str]
    test: list[Tensor]
    answers: list[str]


def fit_classes(part: Part, features: Features, budget: Budget, seed: int, device: str = "cpu") -> dict[str, Any]:
    """Return the accuracy of every tested item, [1 or 0, 1], and the attention to each codebook."""
    names = sorted(set(part.labels))
    targets = torch.tensor([names.index(label) for label in part.labels])
    with steady(seed):
        probe = Classifier(make_front(part.train, features), len(names)).to(device)

        def loss(x: Tensor, lengths: Tensor, chosen: Tensor) -> Tensor:
            return cross_entropy(probe(x, lengths), targets[chosen].to(device), label_smoothing=0.1)

        learn(probe, loss, part.train, budget, device)
        guesses = [names[k] for scores, _ in answer(probe, part.test, budget, device) for k in scores.argmax(1).tolist()]
        shares = attention(probe.front, part.test, device)
    hits = [[int(guess == label), 1] for guess, label in zip(guesses, part.answers, strict=True)]
    return {"values": {"accuracy": hits}, "attention": shares}


def fit_characters(part: Part, features: Features, budget: Budget, seed: int, device: str = "cpu") -> dict[str, Any]:
    """Return errors and length of every tested text in characters and words, and the attention to each codebook."""
    characters = sorted(set("".join(part.labels)))
    targets = [torch.tensor([1 + characters.index(c) for c in text]) for text in part.labels]
    repeats, joined = max(1, math.ceil(READ_RATE / features.frame_rate)), max(1, round(features.frame_rate / READ_RATE))
    with steady(seed):
        probe = Transcriber(make_front(part.train, features), 1 + len(characters), repeats, joined).to(device)

        def loss(x: Tensor, lengths: Tensor, chosen: Tensor) -> Tensor:
            texts = [targets[i] for i in chosen.tolist()]
            sizes = torch.tensor([len(text) for text in texts])
            scores, frames = probe(x, lengths).transpose(0, 1), probe.frames(lengths)
            return ctc_loss(scores, torch.cat(texts).to(device), frames, sizes.to(device), zero_infinity=True)

        learn(probe, loss, part.train, budget, device)
        texts = [
            read_text(frames[: int(length)].argmax(-1), characters)
            for scores, lengths in answer(probe, part.test, budget, device)
            for frames, length in zip(scores, probe.frames(lengths), strict=True)
        ]
        shares = attention(probe.front, part.test, device)
    pairs = list(zip(part.answers, texts, strict=True))
    values = {"cer": [errors(*pair, words=False) for pair in pairs], "wer": [errors(*pair, words=True) for pair in pairs]}
    return {"values": values, "texts": texts, "attention": shares}


@contextmanager
def steady(seed: int) -> Iterator[None]:
    """Draw from a seed, and compute on one thread: more only slow such small networks down, and sum in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)


def make_front(inputs: Sequence[Tensor], features: Features) -> nn.Module:
    """Return the first layer for these features; mean and deviation are those of the inputs."""
    if features.sizes:
        return CodeFront(features.sizes)
    count = sum(len(x) for x in inputs)
    mean = torch.stack([x.double().sum(0) for x in inputs]).sum(0) / count
    variance = torch.stack([(x.double() - mean).square().sum(0) for x in inputs]).sum(0) / count
    return FeatureFront(mean.float(), variance.sqrt().float())


def learn(probe: nn.Module, loss: Any, inputs: Sequence[Tensor], budget: Budget, device: str) -> None:
    """Spend the budget; what is drawn follows torch's own seed."""
    optimizer = torch.optim.AdamW(probe.parameters(), lr=budget.rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, budget.rate, total_steps=budget.steps)
    order = _draw(len(inputs), budget)
    probe.train()
    for _ in range(budget.steps):
        chosen = next(order)
        optimizer.zero_grad()
        loss(*_batch([inputs[i] for i in chosen.tolist()], device), chosen).backward()
        nn.utils.clip_grad_norm_(probe.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    probe.eval()


@torch.inference_mode()
def answer(probe: nn.Module, inputs: Sequence[Tensor], budget: Budget, device: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield what the probe says of each batch, in order, with the lengths of its inputs."""
    for start in range(0, len(inputs), budget.batch):
        x, lengths = _batch(inputs[start : start + budget.batch], device)
        yield probe(x, lengths).cpu(), lengths.cpu()


@torch.inference_mode()
def attention(front: nn.Module, inputs: Sequence[Tensor], device: str) -> list[float]:
    """Return the mean weight of every codebook over all frames; none for continuous features."""
    if not isinstance(front, CodeFront):
        return []
    weights = torch.stack([front.attend(codes[None].to(device))[1][0].mean(0) for codes in inputs])
    return weights.mean(0).tolist()


def read_text(frames: Tensor, characters: list[str]) -> str:
    """Return the text of the best character of each frame [frames]: repeated ones merged, then blanks dropped."""
    return "".join(characters[i - 1] for i in frames.unique_consecutive().tolist() if i)


def errors(text: str, guess: str, words: bool) -> list[int]:
    """Return the edits from a text to a guess, and the text's length, in words or characters, by jiwer."""
    try:
        import jiwer
    except ImportError:
        raise MissingDependencyError(f"error rates need the package jiwer: {how_to_install('eval')}") from None
    found = (jiwer.process_words if words else jiwer.process_characters)(text, guess)
    return [found.substitutions + found.deletions + found.insertions, found.hits + found.substitutions + found.deletions]


def _draw(count: int, budget: Budget) -> Iterator[Tensor]:
    """Yield positions, every item once before any comes again, for ever."""
    rest = torch.empty(0, dtype=torch.int64)
    size = min(count, budget.batch)
    while True:
        while len(rest) < size:
            rest = torch.cat([rest, torch.randperm(count)])
        yield rest[:size]
        rest = rest[size:]


def _batch(inputs: Sequence[Tensor], device: str) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(x) for x in inputs])
    return pad_sequence(list(inputs), batch_first=True).to(device), lengths.to(device)
