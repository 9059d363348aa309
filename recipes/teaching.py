"""Distillation: teachers' features for a batch, and how far what the codes say is from them."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..codecs.base import Codec
from ..codecs.checkpoint import hash_weights
from ..codecs.errors import CheckpointError
from ..codecs.teachers import load_teacher, load_transformers
from .alignment import Aligner, Span
from .data.features import FeatureCache
from .data.items import Items
from .data.loader import Batch
from .domains import Domains
from .errors import RecipeError
from .losses import build_loss
from .losses.distillation import spread_tokens

OWN = "own"  # the frozen model that is a part of the codec itself
TEXT = "text:"  # a language model that reads what is said
MOST_WORDS = 256  # that are read at once: such models know 512 tokens, and what is beyond would count as silence
MOST_KNOWN = 8192  # recordings whose words' features are kept: some 150 kB each of a model of the size of BERT


@dataclass(frozen=True)
class Lesson:
    """One entry of a recipe's table `distil`.

    Attributes:
        teacher: a speech model as `load_teacher` takes it, "own" for the one inside the codec, "text:NAME" for a language
            model.
        layer: hidden state that is the feature, none for the mean of all.
        subject: "first" codebook, or "all".
        loss: its name, and `settings`.
        weight: of the loss.
        cache: keep a speech model's features in `data.cache`.
        aligner: of a language model, what finds when words are said, as `Aligner` takes it; "" for none.
        domains: of the items that it counts for, as [speech]; none for all.
        delay: seconds by which the features are late: a frame of the codec is taught the teacher's of so much later. Of a
            model with causal layers, or one that learned by CTC, they tell of what sounded before.
    """

    teacher: str
    layer: int | None = None
    subject: str = "first"
    loss: str = "d_axis"
    settings: dict[str, Any] = field(default_factory=dict)
    weight: float = 1.0
    cache: bool = False
    aligner: str = ""
    domains: list[str] | None = None
    delay: float = 0.0

    @classmethod
    def read(cls, name: str, entry: dict[str, Any]) -> "Lesson":
        """Build one of a recipe's entry.

        Raises:
            RecipeError: if a key is unknown or missing.
        """
        try:
            lesson = cls(**entry)
        except TypeError as error:
            raise RecipeError(f"distil.{name} cannot be used: {str(error).split('__init__() ')[-1]}") from None
        if lesson.subject not in ("first", "all"):
            raise RecipeError(f"distil.{name}.subject must be first or all; got {lesson.subject!r}")
        if not (isinstance(lesson.delay, int | float) and lesson.delay >= 0):
            raise RecipeError(f"distil.{name}.delay must be seconds, 0 or more; got {lesson.delay!r}")
        return lesson


class SpeechLesson:
    """Features of a speech model for the audio of a batch.

    Args:
        lesson: of the recipe.
        model: frozen, audio [batch, samples] and its rate to features [batch, frames, dim].
        items: whose audio it hears.
        cache: folder for features, none to compute them every time.
        say: gets a line about recordings whose features are computed anew.
    """

    def __init__(
        self, lesson: Lesson, model: Any, items: Items, cache: Path | None, say: Callable[[str], None] = print
    ) -> None:
        self.model, self.items, self.dimension, self.frame_rate = model, items, model.dimension, model.frame_rate
        self.cache = None
        if cache is not None:
            self.cache = FeatureCache(cache, _key(lesson, model), items, self.compute, self.frame_rate, say)

    def compute(self, waveform: Tensor) -> Tensor:
        """Return the features of audio [batch, samples] at the items' rate."""
        device = next(self.model.parameters()).device
        return self.model(waveform.to(device), self.items.sample_rate).float()

    def features(self, batch: Batch, waveform: Tensor) -> Tensor:
        """Return features [batch, frames, dim], of the recordings where they are cached, else of what the codec hears."""
        if self.cache is None:
            return self.compute(waveform.mean(1))
        frames = round(self.items.seconds * self.frame_rate)
        crops = [self.cache.crop(r, s, self.items.seconds) for r, s in zip(batch.recordings, batch.starts, strict=True)]
        return torch.stack([F.pad(crop, (0, 0, 0, frames - len(crop))) for crop in crops]).to(waveform.device)


class TextLesson:
    """Features of a language model for what is said, each token at the time of its word.

    The manifest's column `text` says what is said, and `times` when: from and to of every word, in seconds. Without `times` an
    aligner finds them, and without `text` what is said as well; without either, words share the recording evenly. DM-Codec's
    published code lays token i onto frame i, whenever it is spoken.
    """

    frame_rate = 50.0  # Hz, of what is taught

    def __init__(self, lesson: Lesson, items: Items, device: str = "cpu") -> None:
        name = lesson.teacher.removeprefix(TEXT)
        package = load_transformers()
        try:
            self.tokenizer = package.AutoTokenizer.from_pretrained(name)
            self.model = package.AutoModel.from_pretrained(name).eval().requires_grad_(False).to(device)
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0][:200]
            raise CheckpointError(
                f"the text teacher {name} cannot be had ({reason}): fetch it once, or pass a folder"
            ) from None
        if not (lesson.aligner or any(part.text for part in items.recordings)):
            raise RecipeError(
                "a text teacher needs to know what is said: give data.train a manifest with a column text, or the lesson an "
                "aligner"
            )
        self.aligner = Aligner(lesson.aligner, device) if lesson.aligner else None
        self.items, self.layer, self.dimension = items, lesson.layer, self.model.config.hidden_size
        self.device = device
        self.known: dict[int, tuple[Tensor, list[Span]]] = {}
        self.aligned: dict[int, tuple[str, np.ndarray]] = {}  # of all recordings: it takes the longest, and little room

    @torch.no_grad()
    def features(self, batch: Batch, waveform: Tensor) -> Tensor:
        """Return features [batch, frames, dim]; zeros where nothing is known to be said."""
        crops = [self._crop(r, s) for r, s in zip(batch.recordings, batch.starts, strict=True)]
        return torch.stack(crops).to(waveform.device)

    def _crop(self, recording: int, start: float) -> Tensor:
        tokens, spans = self._tokens(recording)
        spans = [(begin - start, end - start) for begin, end in spans]
        heard = [n for n, (begin, end) in enumerate(spans) if end > 0 and begin < self.items.seconds]
        frames = round(self.items.seconds * self.frame_rate)
        return spread_tokens(tokens[heard], [(max(0.0, spans[n][0]), spans[n][1]) for n in heard], frames, self.frame_rate)

    def _tokens(self, recording: int) -> tuple[Tensor, list[Span]]:
        """Features [tokens, dim] of what is said in a recording, and when."""
        if recording not in self.known:
            if len(self.known) >= MOST_KNOWN:
                self.known.pop(next(iter(self.known)))
            self.known[recording] = self._read(recording)
        return self.known[recording]

    def _read(self, recording: int) -> tuple[Tensor, list[Span]]:
        words, times = self._words(recording)
        pieces = [self._features(words[first : first + MOST_WORDS]) for first in range(0, len(words), MOST_WORDS)]
        features = [torch.zeros(0, self.dimension), *(piece for piece, _ in pieces)]
        owners = [number * MOST_WORDS + owner for number, (_, own) in enumerate(pieces) for owner in own]
        return torch.cat(features), token_spans(owners, times)

    def _features(self, words: list[str]) -> tuple[Tensor, list[int]]:
        """Features [tokens, dim] of words, and which word each token is of."""
        inputs = self.tokenizer(words, is_split_into_words=True, return_tensors="pt", truncation=True)
        given = {name: value.to(self.device) for name, value in inputs.items()}
        states = self.model(**given, output_hidden_states=True).hidden_states
        features = (torch.stack(states).mean(0) if self.layer is None else states[self.layer])[0].cpu()
        owners = inputs.word_ids()  # none of the marks of begin and end
        kept = [n for n, owner in enumerate(owners) if owner is not None]
        return features[kept], [owners[n] for n in kept]

    def _words(self, recording: int) -> tuple[list[str], list[Span]]:
        about = self.items.recordings[recording]
        words, seconds = about.text.split(), self.items.length(recording)
        if words and about.times:
            return words, list(zip(about.times[::2], about.times[1::2], strict=True))
        if self.aligner is not None:
            if recording not in self.aligned:
                self.aligned[recording] = self._align(self.aligner, recording, seconds)
            text, spans = self.aligned[recording]
            return text.split(), [(begin, end) for begin, end in spans.tolist()]
        share = seconds / max(1, len(words))
        return words, [(n * share, (n + 1) * share) for n in range(len(words))]

    def _align(self, aligner: Aligner, recording: int, seconds: float) -> tuple[str, np.ndarray]:
        """What is said, and from and to of every word [words, 2]."""
        waveform = torch.from_numpy(self.items.read(recording, 0.0, seconds))
        found = aligner.words(waveform, self.items.sample_rate, self.items.recordings[recording].text)
        return " ".join(word for word, _ in found), np.array([span for _, span in found]).reshape(-1, 2)


def token_spans(owners: list[int], times: list[Span]) -> list[Span]:
    """Return when tokens are said that belong to words number `owners`: a word's tokens share its time evenly."""
    spans, counts, said = [], Counter(owners), Counter[int]()
    for owner in owners:
        begin, end = times[owner]
        share, place = (end - begin) / counts[owner], said[owner]
        spans.append((begin + place * share, begin + (place + 1) * share))
        said[owner] += 1
    return spans


class Teaching(nn.Module):
    """All lessons of a recipe.

    Args:
        table: of the recipe, name -> settings of a `Lesson`.
        codec: that is taught, which may hold its teacher.
        items: whose audio the teachers hear.
        cache: folder for features.
        device: of the teachers.
        say: gets a line about recordings whose features are computed anew.
    """

    def __init__(
        self,
        table: dict[str, dict[str, Any]],
        codec: Codec,
        items: Items,
        cache: str,
        device: str,
        say: Callable[[str], None] = print,
    ) -> None:
        super().__init__()
        self.lessons = {name: Lesson.read(name, entry) for name, entry in table.items()}
        self.domains = {name: Domains(f"distil.{name}", lesson.domains) for name, lesson in self.lessons.items()}
        self.known = [recording.domain for recording in items.recordings]
        for domains in self.domains.values():
            domains.check(self.known)
        self.seconds = items.seconds
        for name, lesson in self.lessons.items():
            if lesson.delay >= items.seconds:
                raise RecipeError(f"distil.{name}.delay must be less than an item's {items.seconds} s; got {lesson.delay}")
        self.teachers = {name: _teacher(lesson, codec, items, cache, device, say) for name, lesson in self.lessons.items()}
        self.losses = nn.ModuleDict({name: build_loss(lesson.loss, **lesson.settings) for name, lesson in self.lessons.items()})

    @property
    def widths(self) -> dict[str, tuple[int, str]]:
        """Features per frame and subject of each lesson."""
        return {name: (self.teachers[name].dimension, lesson.subject) for name, lesson in self.lessons.items()}

    def forward(self, taught: dict[str, Tensor], batch: Batch, waveform: Tensor) -> dict[str, Tensor]:
        """Return the weighed loss of each lesson, given what the codes say in each teacher's space.

        Where a lesson is for some `domains` alone, items of others add nothing to its mean.
        """
        return {f"distil_{name}": self._loss(name, taught[name], batch, waveform) for name in self.lessons}

    def _loss(self, name: str, taught: Tensor, batch: Batch, waveform: Tensor) -> Tensor:
        lesson, among = self.lessons[name], self.domains[name].among([self.known[number] for number in batch.recordings])
        if not among:
            return 0 * taught.sum()
        heard = Batch(batch.waveform[among], [batch.recordings[n] for n in among], [batch.starts[n] for n in among])
        features = self.teachers[name].features(heard, waveform[among])
        if "kernel" not in lesson.settings:  # a loss that pools by itself wants the teacher's own rate
            features = fit_frames(features, taught.shape[1])
        features = features[:, round(lesson.delay * features.shape[1] / self.seconds) :]  # the loss leaves out what has none
        return lesson.weight * len(among) / len(taught) * self.losses[name](taught[among], features)


def fit_frames(features: Tensor, frames: int) -> Tensor:
    """Return features [batch, frames of the teacher, dim] at another rate: means where there are fewer, else in between."""
    if abs(features.shape[1] - frames) <= 1:
        return features[:, :frames]
    moved = features.transpose(1, 2)
    if features.shape[1] > frames:
        return F.adaptive_avg_pool1d(moved, frames).transpose(1, 2)
    return F.interpolate(moved, frames, mode="linear").transpose(1, 2)


def _key(lesson: Lesson, model: Any) -> str:
    """What sets a teacher's cached features apart; of one without a name that stands for its weights, they do."""
    weights = f"|{hash_weights({}, model.state_dict())}" if lesson.teacher == OWN or Path(lesson.teacher).exists() else ""
    return f"{lesson.teacher}|{lesson.layer}{weights}"


def _teacher(
    lesson: Lesson, codec: Codec, items: Items, cache: str, device: str, say: Callable[[str], None]
) -> SpeechLesson | TextLesson:
    if lesson.teacher.startswith(TEXT):
        return TextLesson(lesson, items, device)
    if lesson.cache and not cache:
        raise RecipeError("a teacher's features are to be cached, and data.cache names no folder: set it")
    folder = Path(cache) / "features" if lesson.cache else None
    return SpeechLesson(lesson, speech_model(lesson, codec, device), items, folder, say)


def speech_model(lesson: Lesson, codec: Codec, device: str) -> Any:
    """Return the frozen model of a lesson that hears: the codec's own, or the one that is named.

    Raises:
        RecipeError: if the codec should hold it, and does not.
        CheckpointError: if it cannot be had.
    """
    if lesson.teacher != OWN:
        return load_teacher(lesson.teacher, lesson.layer, device)
    if not hasattr(codec, "teacher"):
        raise RecipeError(f"a codec of family {codec.family} holds no teacher of its own: name one")
    return codec.teacher
