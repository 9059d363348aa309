"""One language model of a codec's tokens: it learns for a fixed budget, says how surprising others are, and goes on with them.

The model is the reference one of `lm.models`, a decoder-only transformer over a delay pattern (Copet et al., "Simple and
Controllable Music Generation", 2023). Streams of several rates are laid side by side at the slowest one: a codebook that is n
times as fast is n codebooks of the model, so that every code is written once.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, pad

from ...codecs.audio_resampling import resample
from ...codecs.errors import ShapeError
from ...lm.models.base import build
from ...lm.models.columns import ColumnModel
from ...lm.models.config import LanguageConfig
from ...lm.models.sampling import Sampling
from ...lm.models.writing import write_codes
from ..clips import Clip
from ..jobs import Job, Results
from ..metrics import pick_metrics
from ..reconstruction import Pair, measure, package_version, unpack
from ..systems import CodecSystem, load_once
from .fitting import Budget, learn, steady

VERSION = "1"


@dataclass(frozen=True)
class LanguageBudget:
    """What a model may spend, the same for every codec.

    Attributes:
        fit: steps of AdamW, pieces of each, the highest learning rate of one cycle, and seeds, of which the first is used.
        seconds: of a piece, the most that the model hears at once.
        prompt: seconds of a piece that it is given to go on with.
        continued: pieces, of clips of their own, that it goes on with.
        clips: to learn from, at most.
        width, layers, heads: of the transformer.
    """

    fit: Budget = field(default_factory=lambda: Budget(steps=200, batch=8, rate=2e-3, seeds=(0,)))
    seconds: float = 3.0
    prompt: float = 1.0
    continued: int = 40
    clips: int = 1000
    width: int = 128
    layers: int = 4
    heads: int = 4


@dataclass(frozen=True)
class Layout:
    """How the codebooks of several rates lie side by side.

    Attributes:
        rates, sizes: of each codebook that is used.
    """

    rates: tuple[float, ...]
    sizes: tuple[int, ...]

    @property
    def frame_rate(self) -> float:
        """Frames of the model in a second: those of the slowest codebook."""
        return min(self.rates)

    @cached_property
    def ratios(self) -> tuple[int, ...]:
        """Codes of each codebook in a frame.

        Raises:
            ShapeError: if they are no whole numbers.
        """
        exact = [rate / self.frame_rate for rate in self.rates]
        if any(abs(ratio - round(ratio)) > 1e-3 for ratio in exact):
            raise ShapeError(f"frame rates of {self.rates} Hz are no multiples of the slowest: such tokens fit no pattern")
        return tuple(round(ratio) for ratio in exact)

    @property
    def written(self) -> tuple[int, ...]:
        """Sizes of the codebooks that the model writes."""
        return tuple(size for size, ratio in zip(self.sizes, self.ratios, strict=True) for _ in range(ratio))

    def join(self, codes: Sequence[np.ndarray]) -> Tensor:
        """Return int64 [frames, codebooks of the model] of the codes of each codebook, cut to whole frames."""
        frames = min(len(own) // ratio for own, ratio in zip(codes, self.ratios, strict=True))
        parts = [own[: frames * ratio].reshape(frames, ratio) for own, ratio in zip(codes, self.ratios, strict=True)]
        return torch.from_numpy(np.concatenate(parts, axis=1).astype(np.int64))

    def part(self, joined: Tensor) -> list[Tensor]:
        """Return the codes of each codebook of what `join` joined."""
        return [own.reshape(-1) for own in joined.split(self.ratios, dim=1)]


@dataclass(frozen=True)
class LanguageJob(Job):
    """A model of one codec at one depth.

    Attributes:
        system: the codec.
        codes: results of `CodesJob` by the clip's digest; those of clips that failed are missing.
        learned, tested: clips.
        metrics: names of those that judge continuations.
        sample_rate: Hz at which they do.
        budget: of the model.
    """

    system: CodecSystem
    codes: Mapping[str, Mapping[str, Any]]
    learned: tuple[Clip, ...]
    tested: tuple[Clip, ...]
    metrics: tuple[str, ...]
    sample_rate: int
    budget: LanguageBudget

    @property
    def keys(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The one key."""
        clips = [[(clip.digest, clip.seconds) for clip in part] for part in (self.learned, self.tested)]
        judges = [metric.full_version for metric in pick_metrics(self.metrics).values()]
        about = hashlib.sha256(repr((clips, self.metrics, judges, self.sample_rate, self.budget)).encode()).hexdigest()[:16]
        return (f"language|{package_version()}|{VERSION}|{self.system.identity}|{about}",)

    def run(self, wanted: frozenset[str], device: str) -> Results:
        """Learn, and return bits of every tested clip by codebook, and what continuations are worth."""
        with steady(self.budget.fit.seeds[0]):
            return {self.keys[0]: self._examine(device)}

    @cached_property
    def layout(self) -> Layout:
        """How its codebooks lie side by side."""
        first, depth = next(iter(self.codes.values())), self.system.codebooks
        return Layout(tuple(first["rates"][:depth]), tuple(first["sizes"][:depth]))

    def _examine(self, device: str) -> dict[str, Any]:
        pieces = [piece for clip in self.learned for piece in self._pieces(clip)]
        tested = {clip.digest: self._pieces(clip) for clip in self.tested}
        if not pieces or not any(tested.values()):
            raise ShapeError(f"{self.system.label}: too few clips could be encoded to learn from and to test on")
        model = self._model().to(device)

        def loss(x: Tensor, lengths: Tensor, chosen: Tensor) -> Tensor:
            return model.loss(
                x.transpose(1, 2), lengths, torch.zeros(len(x), dtype=torch.bool, device=x.device), [None] * len(x)
            )

        learn(model, loss, pieces, self.budget.fit, device)
        plain = frequencies(pieces, self.layout.written)
        rate = self.layout.frame_rate
        return {
            "clips": {
                digest: {"seconds": sum(map(len, own)) / rate, "bits": _sums(bits_of(model, piece) for piece in own),
                         "plain": _sums(plain_bits(plain, piece) for piece in own)}
                for digest, own in tested.items() if own
            },
            "tokens_per_second": rate * len(self.layout.written),
            "parameters": sum(weight.numel() for weight in model.parameters()), "pieces": len(pieces),
            "seconds": sum(map(len, pieces)) / rate, "continuations": self._continue(model, device),
        }  # fmt: skip

    def _pieces(self, clip: Clip) -> list[Tensor]:
        """Return the pieces [frames, codebooks] of a clip, none where it failed."""
        if clip.digest not in self.codes:
            return []
        packed = self.codes[clip.digest]["codes"][: self.system.codebooks]
        joined = self.layout.join([unpack(own) for own in packed])
        return list(joined.split(self._frames)) if len(joined) else []

    @property
    def _frames(self) -> int:
        return max(2, round(self.budget.seconds * self.layout.frame_rate))

    def _model(self) -> ColumnModel:
        own = self.budget
        config = LanguageConfig(
            "delay", self.system.name, "", self.layout.frame_rate, self.layout.written, width=own.width, layers=own.layers,
            heads=own.heads, dropout=0.1,
        )  # fmt: skip
        return build(config)

    def _continue(self, model: ColumnModel, device: str) -> dict[str, dict[str, list[dict[str, Any]]]]:
        """Return, by "model" (what it wrote) and "codec" (real codes), what each metric says of each continuation."""
        found = {who: {name: [] for name in self.metrics} for who in ("model", "codec")}
        for clip in self._long_enough():
            piece = self._pieces(clip)[0]
            given = max(1, round(self.budget.prompt * self.layout.frame_rate))
            draw = torch.Generator().manual_seed(int(clip.digest, 16) % 2**63)
            written = write_codes(model, len(piece), None, piece[None, :given].transpose(1, 2), Sampling(), draw, len(piece))
            for who, codes in (("model", written[0].T), ("codec", piece)):
                pair = self._pair(clip, codes, given, device)
                for name in self.metrics:
                    if (metric := pick_metrics([name])[name]).fits(clip.domain):
                        found[who][name].append(measure(metric, pair))
        return found

    def _long_enough(self) -> list[Clip]:
        whole = [clip for clip in self.tested if (own := self._pieces(clip)) and len(own[0]) == self._frames]
        return whole[: self.budget.continued]

    def _pair(self, clip: Clip, codes: Tensor, given: int, device: str) -> Pair:
        """Return what follows the first `given` frames of decoded codes [frames, codebooks], and of the clip itself."""
        codec = load_once(self.system.source, device)
        rate = codec.spec.sample_rate
        start, stop = (round(n / self.layout.frame_rate * rate) for n in (given, len(codes)))
        tokens = codec.tokens_from_codes(self._streams(codes), stop)
        estimate = codec.decode(tokens)[0].mean(0).float().cpu()[start:stop]
        target = resample(*clip.read(), rate)[start:stop]
        target = pad(target, (0, len(estimate) - len(target)))  # the last frame may reach beyond the clip
        return Pair(resample(estimate, rate, self.sample_rate), resample(target, rate, self.sample_rate), self.sample_rate)

    def _streams(self, codes: Tensor) -> list[Tensor]:
        """Return codes [frames, codebooks of the model] as the streams [1, codebooks, frames] of the codec."""
        books, streams = self.layout.part(codes), []
        for stream, rate in zip(self._spec.streams, self._spec.frame_rates, strict=True):
            own, books = books[: len(stream.codebook_sizes)], books[len(stream.codebook_sizes) :]
            silent = torch.zeros(1, 0, round(len(codes) * rate / self.layout.frame_rate), dtype=torch.int64)
            streams.append(torch.stack(own)[None] if own else silent)
        return streams

    @property
    def _spec(self) -> Any:
        return load_once(self.system.source, "cpu").spec


@torch.inference_mode()
def bits_of(model: ColumnModel, piece: Tensor) -> list[float]:
    """Return the bits of the codes of each codebook of a piece [frames, codebooks]: -log2 of the model's probabilities."""
    codes = piece.T[None].to(model.device)
    lengths = torch.tensor([len(piece)], device=model.device)
    sequence, mask = model.targets(codes, lengths, torch.zeros(1, dtype=torch.bool, device=model.device))
    wanted, used = sequence[..., 1:], mask[..., 1:]
    return [
        cross_entropy(own[used[:, row]].float(), wanted[:, row][used[:, row]], reduction="sum").item() / math.log(2)
        for row, own in enumerate(model(sequence, [None]))
    ]


def frequencies(pieces: Sequence[Tensor], sizes: Sequence[int]) -> list[Tensor]:
    """Return the bits of every code of each codebook by how often it is there, each counted once more than it is."""
    joined = torch.cat(list(pieces))
    counts = [1.0 + own.bincount(minlength=size) for own, size in zip(joined.T, sizes, strict=True)]
    return [-(own / own.sum()).log2() for own in counts]


def plain_bits(frequencies: Sequence[Tensor], piece: Tensor) -> list[float]:
    """Return the bits of each codebook of a piece [frames, codebooks] by `frequencies`."""
    return [own[codes].sum().item() for own, codes in zip(frequencies, piece.T, strict=True)]


def _sums(found: Iterator[list[float]]) -> list[float]:
    return [sum(column) for column in zip(*found, strict=True)]
