"""The suite `tokens`: how codes are used, what they cost, what they share, and how still they hold.

- usage: share of a codebook's codes that occur at all; perplexity: 2 to the entropy of its codes.
- entropy-coded rate: the sum of the codebooks' zero-order entropies times their frame rates, beside the nominal rate; and the
  rate of the .tok files of the clips, headers included.
- mutual information of two codebooks in the same frame (the slower one repeated), in bits: the plug-in estimate less that of
  the same codes in random order, which takes away most of its bias; about 0 it is noise.
- stability: share of codes that stay when the audio is moved by one sample, made 6 dB softer, or gets white noise 40 dB below.
- generations: share of codes that are those of the first encoding after the audio was coded and decoded 1 to 10 times.

Entropies are plug-in estimates, too low where there are few frames per code. All at the largest depth asked for, channels
mixed.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import numpy as np
import torch
from torch import Tensor

from ..codecs.audio_resampling import resample
from ..codecs.tokenfile import TokenWriter
from ..codecs.tokens import Tokens
from .clips import Clip
from .jobs import Job, Results
from .measurement import facts_of, measure_jobs
from .reconstruction import pack, package_version, unpack
from .suite import Findings, Row, Section, Setup, Suite, Table, deepest, words_of
from .summary import Summary, summarise
from .systems import CodecSystem

GENERATIONS = 10
SHOWN = (1, 2, 5, 10)  # generations in tables
NOISE_DB, GAIN_DB = -40.0, -6.0
PERTURBATIONS = {"shift": "one-sample shift", "gain": "gain of -6 dB", "noise": "noise at 40 dB SNR"}
VERSION = "1"


@dataclass(frozen=True)
class TokenJob(Job):
    """The codes of one clip, and how many of them stay when something changes."""

    system: CodecSystem
    clip: Clip

    @property
    def keys(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The one key."""
        clip = f"{self.clip.digest} {self.clip.seconds}"
        return (f"tokens|{package_version()}|{VERSION}|{self.system.identity}|{clip}",)

    def run(self, wanted: frozenset[str], device: str) -> Results:
        """Return codes, shares of codes that stay, seconds, and bytes of the token file."""
        return {self.keys[0]: self._examine(device)}

    def _examine(self, device: str) -> dict[str, Any]:
        codec, depth = self.system.codec(device), self.system.codebooks
        waveform, rate = self.clip.read()
        audio = resample(waveform, rate, codec.spec.sample_rate)
        tokens = codec.encode(audio, codebooks=depth)
        codes = codes_of(tokens)
        stays = {
            name: agreement(codes_of(codec.encode(changed, codebooks=depth)), codes) for name, changed in perturb(audio).items()
        }
        again, history = tokens, []
        for _ in range(GENERATIONS):
            again = codec.encode(codec.decode(again)[0], codebooks=depth)
            history.append(agreement(codes_of(again), codes))
        return {
            "codes": [pack(stream) for stream in codes], "stays": stays, "generations": history,
            "seconds": len(audio) / codec.spec.sample_rate, "file_bytes": file_bytes(tokens),
            "sizes": [size for sizes in tokens.codebook_sizes for size in sizes],
            "rates": [
                frame_rate for frame_rate, sizes in zip(tokens.frame_rates, tokens.codebook_sizes, strict=True) for _ in sizes
            ],
            "roles": list(codec.spec.roles[:depth]),
        }  # fmt: skip


def codes_of(tokens: Tokens) -> list[np.ndarray]:
    """Return the codes of the first item, [frames] of each codebook, streams joined."""
    return [
        codes[0, k, : int(length)].cpu().numpy()
        for codes, length in zip(tokens.streams, tokens.lengths[0], strict=True)
        for k in range(codes.shape[1])
    ]


def perturb(audio: Tensor) -> dict[str, Tensor]:
    """Return the audio [time] one sample later, softer, and with noise, each as long as it."""
    noise = torch.randn(audio.shape, generator=torch.Generator().manual_seed(0))
    level = audio.square().mean().sqrt() * 10 ** (NOISE_DB / 20)
    return {
        "shift": torch.nn.functional.pad(audio, (1, 0))[:-1],
        "gain": audio * 10 ** (GAIN_DB / 20),
        "noise": audio + level * noise,
    }


def agreement(codes: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> list[float]:
    """Return the share of equal codes of each codebook, over the frames that both have."""
    pairs = [(a[: len(b)], b[: len(a)]) for a, b in zip(codes, others, strict=True)]
    return [float(np.mean(a == b)) if len(a) else 1.0 for a, b in pairs]


def file_bytes(tokens: Tokens) -> int:
    """Return the bytes of the tokens as an entropy-coded .tok file."""
    file = io.BytesIO()
    with TokenWriter(cast(BinaryIO, file)) as writer:
        writer.write(tokens)
    return len(file.getvalue())


def entropy(codes: np.ndarray) -> float:
    """Return the plug-in entropy of codes in bits."""
    shares = np.unique(codes, return_counts=True)[1] / len(codes)
    return float(-(shares * np.log2(shares)).sum())


def mutual_information(first: np.ndarray, second: np.ndarray, seed: int = 0) -> float:
    """Return the mutual information in bits of two codebooks' codes of the same frames, less that of shuffled ones."""
    shuffled = np.random.default_rng(seed).permutation(second)
    return _plug_in(first, second) - _plug_in(first, shuffled)


def _plug_in(first: np.ndarray, second: np.ndarray) -> float:
    joint = first.astype(np.int64) * (int(second.max()) + 1) + second.astype(np.int64)
    return entropy(first) + entropy(second) - entropy(joint)


@dataclass(frozen=True)
class Pooled:
    """What the clips of one codec say together: per codebook, or one number."""

    sizes: list[int]
    rates: list[float]
    roles: list[str]
    usage: list[float]
    entropies: list[float]
    information: np.ndarray  # [codebooks, codebooks], NaN on and below the diagonal
    file_kbps: float

    @property
    def entropy_kbps(self) -> float:
        """Rate at which ideal zero-order coding of each codebook would come out."""
        return sum(bits * rate for bits, rate in zip(self.entropies, self.rates, strict=True)) / 1000

    @property
    def neighbours(self) -> float | None:
        """Mean mutual information of a codebook and the next, None where there is one codebook."""
        values = np.diagonal(self.information, 1)
        return float(values.mean()) if len(values) else None


def pool(found: Sequence[dict[str, Any]]) -> Pooled:
    """Put the results of all clips of one codec together."""
    books = len(found[0]["sizes"])
    codes = [np.concatenate([unpack(item["codes"][k]) for item in found]).astype(np.int64) for k in range(books)]
    rates, sizes = found[0]["rates"], found[0]["sizes"]
    ratios = [round(max(rates) / rate) for rate in rates]
    aligned = [_aligned(found, k, ratio, max(rates)) for k, ratio in enumerate(ratios)]
    information = np.full((books, books), np.nan)
    for i in range(books):
        for j in range(i + 1, books):
            information[i, j] = mutual_information(aligned[i], aligned[j])
    seconds = sum(item["seconds"] for item in found)
    return Pooled(
        sizes, rates, found[0]["roles"], [len(np.unique(c)) / size for c, size in zip(codes, sizes, strict=True)],
        [entropy(c) for c in codes], information, 8 * sum(item["file_bytes"] for item in found) / seconds / 1000,
    )  # fmt: skip


def _aligned(found: Sequence[dict[str, Any]], codebook: int, ratio: int, rate: float) -> np.ndarray:
    """Return a codebook's codes at the fastest rate, each clip cut to what all its codebooks have."""
    parts = []
    for item in found:
        lengths = [item["codes"][k]["shape"][0] * round(rate / item["rates"][k]) for k in range(len(item["codes"]))]
        parts.append(unpack(item["codes"][codebook]).repeat(ratio)[: min(lengths)])
    return np.concatenate(parts).astype(np.int64)


class TokenStatistics(Suite):
    """Statistics of the tokens of every codec, at the largest depth that was asked for."""

    name, takes_tokens = "tokens", True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.systems = sorted(deepest(setup.systems).values(), key=setup.systems.index)

    def jobs(self) -> list[Job]:
        """Return the measurement of every codec, and one job for each and clip."""
        measured = measure_jobs(self.systems, self.setup.tested, self.setup.device)
        return [*measured, *(TokenJob(system, clip) for system in self.systems for clip in self.setup.tested)]

    def find(self, results: Results) -> Findings:
        """Return rows, and tables of codecs and of their codebooks."""
        rows, lines, parts, failed = [], [], [], {}
        for system in self.systems:
            jobs = [TokenJob(system, clip) for clip in self.setup.tested]
            found = [results[job.keys[0]] for job in jobs if "error" not in results[job.keys[0]]]
            failed |= {
                f"{system.label}, {j.clip.name}": results[j.keys[0]]["error"] for j in jobs if "error" in results[j.keys[0]]
            }
            if not found:
                rows.append(self._failed_row(system, len(jobs), results))
                continue
            pooled = pool(found)
            mine = self._rows(system, pooled, found, len(jobs) - len(found), results)
            rows += mine
            lines.append([system.label, *(row.summary.short() if row.summary else "-" for row in mine)])
            parts.append(self._codebooks(system, pooled, found))
        first = lines[0][0] if lines else ""
        labels = [f"{row.label}, {row.unit}" if row.unit else row.label for row in rows if row.system == first]
        head = ["codec", *labels] if lines else []
        if head:
            lines += [[row.system, row.note, *["-"] * (len(head) - 2)] for row in rows if row.failures]
            lines += self.absent_lines(len(head))
        main = Section("Tokens", words_of(__doc__), (Table(head, lines),) if lines else ())
        failures = (
            [Section("Tokens: failures", tables=(Table(["clip", "why"], [list(f) for f in failed.items()]),))] if failed else []
        )
        return Findings([*rows, *self.absent_rows()], [main, *parts, *failures], {"failures": failed})

    def _failed_row(self, system: CodecSystem, failures: int, results: Results) -> Row:
        """Return the row of a codec that has no figure, which says why."""
        facts, why = self._facts(system, results), f"failed on all {failures} clips"
        return Row(self.name, system.label, "all", "", "", "", "", VERSION, None, facts, why, failures)

    def _facts(self, system: CodecSystem, results: Results) -> dict[str, Any]:
        return {"kbps": system.about.nominal_kbps} | facts_of(system, results, self.setup.device)

    def _rows(
        self, system: CodecSystem, pooled: Pooled, found: list[dict[str, Any]], failures: int, results: Results
    ) -> list[Row]:
        facts = self._facts(system, results)
        clips = len(found)

        def row(metric: str, label: str, unit: str, better: str, summary: Summary | None) -> Row:
            return Row(self.name, system.label, "all", metric, label, unit, better, VERSION, summary, facts)

        def whole(value: float | None) -> Summary | None:
            return None if value is None else Summary(value, None, None, None, clips, failures)

        perplexities = [2**bits for bits in pooled.entropies]
        rows = [
            row("nominal_kbps", "nominal", "kbps", "lower", whole(system.about.nominal_kbps)),
            row("entropy_kbps", "zero-order entropy", "kbps", "lower", whole(pooled.entropy_kbps)),
            row("file_kbps", ".tok files", "kbps", "lower", whole(pooled.file_kbps)),
            row("usage", "usage", "%", "higher", whole(100 * float(np.mean(pooled.usage)))),
            row("perplexity", "mean perplexity", "", "higher", whole(float(np.mean(perplexities)))),
            row("information", "mutual information of neighbours", "bit", "lower", whole(pooled.neighbours)),
        ]
        for name, label in PERTURBATIONS.items():
            shares = [100 * float(np.mean(item["stays"][name])) for item in found]
            rows.append(row(f"stays_{name}", f"stays at {label}", "%", "higher", summarise(shares, failures)))
        for generation in range(1, GENERATIONS + 1):
            shares = [100 * float(np.mean(item["generations"][generation - 1])) for item in found]
            rows.append(
                row(f"generation_{generation}", f"stays at generation {generation}", "%", "higher", summarise(shares, failures))
            )
        return rows

    def _codebooks(self, system: CodecSystem, pooled: Pooled, found: list[dict[str, Any]]) -> Section:
        """Return the table of one codec's codebooks, and that of what they share."""
        head = ["codebook", "role", "size", "usage, %", "perplexity", "entropy, bit", "nominal, bit"]
        head += [f"{label}, %" for label in PERTURBATIONS.values()] + [f"generation {g}, %" for g in SHOWN]
        lines = []
        for k, size in enumerate(pooled.sizes):
            stays = [np.mean([item["stays"][name][k] for item in found]) for name in PERTURBATIONS]
            kept = [np.mean([item["generations"][g - 1][k] for item in found]) for g in SHOWN]
            lines.append(
                [
                    str(k + 1), pooled.roles[k], str(size), f"{100 * pooled.usage[k]:.1f}", f"{2 ** pooled.entropies[k]:.1f}",
                    f"{pooled.entropies[k]:.2f}", f"{np.log2(size):.2f}", *(f"{100 * share:.1f}" for share in [*stays, *kept]),
                ]
            )  # fmt: skip
        tables = [Table(head, lines)]
        books = len(pooled.sizes)
        if books > 1:
            cells = [["" if np.isnan(v) else f"{v:.2f}" for v in pooled.information[i]] for i in range(books - 1)]
            numbers = [str(k + 1) for k in range(books)]
            tables.append(Table(["shared bits", *numbers[1:]], [[numbers[i], *row[1:]] for i, row in enumerate(cells)]))
        return Section(f"Tokens of {system.label}", "Frames of all clips together; shares are means over clips.", tuple(tables))
