"""The suite `reconstruction`: every metric of every system on every clip."""

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..codecs.audio_resampling import resample
from ..codecs.errors import TonemeError
from .clips import DOMAINS, Clip
from .examples import ExampleJob, example_html, pick_examples
from .jobs import Job, Results, reason_of
from .measurement import facts_of, measure_jobs
from .metrics import Measure, Metric, SetMetric, pick_metrics
from .plots import curves
from .suite import Findings, Row, Section, Setup, Suite, Table
from .summary import Summary, summarise, summarise_set
from .systems import System

RULES = 1  # version of how estimate and target are paired
WORST = 3  # clips named for each system
TABLES = (("quality", "intelligibility", "learned"), ("spectrum", "distribution"), ("waveform", "pitch"))  # groups of metrics
ARROWS = {"higher": " ↑", "lower": " ↓", "zero": " →0"}


@dataclass(frozen=True)
class Pair:
    """Estimate and target at one rate and of one length, and at every other rate that is asked for."""

    estimate: Tensor
    target: Tensor
    sample_rate: int

    def at(self, sample_rate: int | None) -> tuple[Tensor, Tensor, int]:
        """Return estimate and target [time] at a rate, and the rate."""
        rate = sample_rate or self.sample_rate
        if rate not in self._known:
            ours, theirs = (resample(x, self.sample_rate, rate) for x in (self.estimate, self.target))
            self._known[rate] = ours, theirs
        return *self._known[rate], rate

    @cached_property
    def _known(self) -> dict[int, tuple[Tensor, Tensor]]:
        return {self.sample_rate: (self.estimate, self.target)}


def make_pair(system: System, clip: Clip, sample_rate: int, device: str) -> tuple[Pair, float | None]:
    """Return a clip and what a system makes of it, at one rate and of one length, and the bits that it took.

    Raises:
        TonemeError: if the clip cannot be read or the system fails.
    """
    waveform, rate = clip.read()
    rebuilt = system.rebuild_clip(clip, waveform, rate, device)
    target = resample(waveform, rate, sample_rate)
    estimate = resample(rebuilt.audio, rebuilt.sample_rate, sample_rate)[: len(target)]
    return Pair(torch.nn.functional.pad(estimate, (0, len(target) - len(estimate))), target, sample_rate), rebuilt.bits


@dataclass(frozen=True)
class ClipJob(Job):
    """All metrics of one clip by one system; results are {"value": ...}, {"failure": sentence} or embeddings."""

    system: System
    clip: Clip
    sample_rate: int
    metrics: tuple[str, ...]

    @property
    def keys(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """One per metric, and one for the bits."""
        return tuple(self.key(name) for name in (*self.metrics, "bits"))

    def key(self, name: str) -> str:
        """Return the key of a metric, or of "bits"."""
        about = "" if name == "bits" else pick_metrics([name])[name].full_version
        clip = f"{self.clip.digest} {self.clip.seconds}"
        return f"clip|{package_version()}|{RULES}|{self.system.identity}|{clip}|{self.sample_rate}|{name}|{about}"

    def run(self, wanted: frozenset[str], device: str) -> Results:
        """Rebuild the clip once and compute what is wanted."""
        pair, bits = make_pair(self.system, self.clip, self.sample_rate, device)
        found: Results = {}
        for name in self.metrics:
            if self.key(name) in wanted:
                found[self.key(name)] = measure(pick_metrics([name])[name], pair)
        seconds = len(pair.target) / self.sample_rate
        return found | ({self.key("bits"): {"bits": bits, "seconds": seconds}} if self.key("bits") in wanted else {})


def measure(metric: Measure, pair: Pair) -> dict[str, Any]:
    """Return {"value": ...} or embeddings of both, or {"failure": sentence} where the metric is undefined."""
    try:
        estimate, target, rate = pair.at(metric.sample_rate)
        if isinstance(metric, SetMetric):
            embeddings = [metric.embed(audio, rate) for audio in (estimate, target)]
            if not all(np.isfinite(embedding).all() for embedding in embeddings):
                return {"failure": "the embedding holds values that are no finite numbers"}
            return dict(zip(("estimate", "target"), map(pack, embeddings), strict=True))
        assert isinstance(metric, Metric)
        value = metric.compute(estimate, target, rate)
    except Exception as error:  # a metric's package met a signal that its authors did not; the other clips go on
        return {"failure": reason_of(error)}
    return {"value": value} if math.isfinite(value) else {"failure": f"the value is {value}, which no mean can hold"}


def pack(array: np.ndarray) -> dict[str, Any]:
    """Return an array as JSON types."""
    return {"shape": list(array.shape), "float32": base64.b64encode(array.astype("<f4").tobytes()).decode()}


def unpack(packed: Mapping[str, Any]) -> np.ndarray:
    """Return what `pack` packed."""
    return np.frombuffer(base64.b64decode(packed["float32"]), "<f4").reshape(packed["shape"])


@lru_cache
def package_version() -> str:
    """Return the version of the package, which is part of every key."""
    return version("toneme")


class Reconstruction(Suite):
    """Metrics of what comes back, by domain."""

    name = "reconstruction"

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.metrics = pick_metrics(setup.metrics)
        self.obstacles = {name: metric.obstacle() for name, metric in self.metrics.items()}
        self.usable = {name: metric for name, metric in self.metrics.items() if not self.obstacles[name]}

    def jobs(self) -> list[Job]:
        """Return the measurement of every system, and every clip by every system."""
        measured = measure_jobs(self.setup.systems, self.setup.tested, self.setup.device)
        return [*measured, *(self._job(system, clip) for system in self.setup.systems for clip in self.setup.tested)]

    def more_jobs(self, results: Results) -> list[Job]:
        """Return the examples: which clips they are depends on the scores."""
        chosen = self._examples(results)
        return [
            ExampleJob(system, clip, self.setup.sample_rate) for clip, _ in chosen for system in (None, *self.setup.systems)
        ]

    def find(self, results: Results) -> Findings:
        """Return rows, tables, curves, worst clips and examples."""
        rows = [row for domain in self.domains for system in self.setup.systems for row in self._rows(system, domain, results)]
        sections = [self._section(domain, rows, results) for domain in self.domains]
        sections += [self._about_systems(results), self._about_metrics(), self._failed(results)]
        chosen = self._examples(results)
        if chosen:
            html = example_html(chosen, self.setup.systems, self.setup.sample_rate, results)
            by = self.metrics[self._ranking()].label
            text = f"The middle and the worst clip of each domain by the first system's {by}; first five seconds, FLAC."
            sections.insert(len(self.domains), Section("Listen and look", text, html=html))
        return Findings(
            [*rows, *self.absent_rows()], sections, {"clips": self._details(results), "not computed": self._not_computed()}
        )

    @property
    def domains(self) -> list[str]:
        """The domains of the clips, and "all" where there are several."""
        there = dict.fromkeys(clip.domain or "audio" for clip in self.setup.tested)
        found = [name for name in (*DOMAINS, "audio") if name in there]
        return found if len(found) == 1 else [*found, "all"]

    def clips_of(self, domain: str) -> list[Clip]:
        """Return the clips of a domain, or all."""
        return [clip for clip in self.setup.tested if domain in ("all", clip.domain or "audio")]

    def _job(self, system: System, clip: Clip) -> ClipJob:
        names = tuple(name for name, metric in self.usable.items() if metric.fits(clip.domain))
        return ClipJob(system, clip, self.setup.sample_rate, names)

    # -- rows ---------------------------------------------------------------------------------------------------

    def _rows(self, system: System, domain: str, results: Results) -> list[Row]:
        clips = self.clips_of(domain)
        facts = self._facts(system, clips, results)
        rows = []
        for name, metric in self.metrics.items():
            fitting = [clip for clip in clips if metric.fits(clip.domain)]
            if len(fitting) < len(clips):
                continue  # a metric for some domains only has no figure for all
            summary, note, failures = self._summary(system, fitting, name, results)
            rows.append(
                Row(
                    self.name, system.label, domain, name, metric.label, metric.unit, metric.better, metric.full_version,
                    summary, facts, note, failures,
                )
            )  # fmt: skip
        return rows

    def _summary(
        self, system: System, clips: list[Clip], name: str, results: Results
    ) -> tuple[Summary | None, str, int | None]:
        """Return the summary, or why there is none, and how many clips failed."""
        if self.obstacles[name]:
            return None, self.obstacles[name], None
        found = [results[self._job(system, clip).key(name)] for clip in clips]
        good = [item for item in found if "failure" not in item and "error" not in item]
        failures = len(found) - len(good)
        if not good:
            return None, f"failed on all {failures} clips", failures
        metric = self.metrics[name]
        if not isinstance(metric, SetMetric):
            return summarise([item["value"] for item in good], failures), "", failures
        pairs = [(unpack(item["estimate"]), unpack(item["target"])) for item in good]
        try:
            return summarise_set(pairs, metric.distance, failures), "", failures
        except TonemeError as error:
            return None, str(error), failures

    def _facts(self, system: System, clips: list[Clip], results: Results) -> dict[str, Any]:
        spent = [results[self._job(system, clip).key("bits")] for clip in clips]
        known = [item for item in spent if item.get("bits") is not None]
        seconds = sum(item["seconds"] for item in known)
        kbps = sum(item["bits"] for item in known) / seconds / 1000 if seconds else None
        return {"kbps": kbps} | facts_of(system, results, self.setup.device)

    # -- the report ---------------------------------------------------------------------------------------------

    def _section(self, domain: str, rows: list[Row], results: Results) -> Section:
        mine = [row for row in rows if row.domain == domain]
        tables = [self._table([row for row in mine if self.metrics[row.metric].group in groups]) for groups in TABLES]
        clips = self.clips_of(domain)
        text = (
            f"{len(clips)} clips. Mean and 95 % bootstrap interval over clips (medians are in results.csv); arrows say which "
            "way is better."
        )
        filled = [table for table in tables if len(table.head) > 2]
        worst = [self._worst(clips, results)] if self._ranking() else []
        return Section(f"Reconstruction: {domain}", text, (*filled, *worst), curves(mine))

    def _table(self, rows: list[Row]) -> Table:
        """Return systems by metrics; a metric that could not be computed says why in a few words."""
        heads = {row.metric: row.label + (f", {row.unit}" if row.unit else "") + ARROWS[row.better] for row in rows}
        lines = []
        for system in self.setup.systems:
            cells = {row.metric: row for row in rows if row.system == system.label}
            kbps = next((row.facts["kbps"] for row in cells.values()), None)
            texts = [str(row.summary or row.note.split(" (")[0]) for row in cells.values()]
            lines.append([system.label, "-" if kbps is None else f"{kbps:.2f}", *texts])
        lines += [[name, "-", why, *rest] for name, why, *rest in self.absent_lines(1 + len(heads))]
        return Table(["codec", "kbps", *heads.values()], lines)

    def _worst(self, clips: list[Clip], results: Results) -> Table:
        """Return the clips of the largest mel distance (or the first metric) of every system."""
        name = self._ranking()
        lines = []
        for system in self.setup.systems:
            scores = self._scores(system, clips, name, results)
            worst = sorted(scores, key=lambda item: item[1], reverse=self.metrics[name].better != "higher")[:WORST]
            lines.append([system.label, *(f"{clip.name}: {value:.3f}" for clip, value in worst), *[""] * (WORST - len(worst))])
        return Table([f"worst clips by {self.metrics[name].label}", "1", "2", "3"], lines)

    def _ranking(self) -> str:
        """Return the metric that ranks clips, "" where none has a value for each clip."""
        plain = [name for name, metric in self.usable.items() if isinstance(metric, Metric)]
        return "mel_distance" if "mel_distance" in plain else next(iter(plain), "")

    def _scores(self, system: System, clips: list[Clip], name: str, results: Results) -> list[tuple[Clip, float]]:
        fitting = [clip for clip in clips if self.metrics[name].fits(clip.domain)]
        found = [(clip, results[self._job(system, clip).key(name)]) for clip in fitting]
        return [(clip, item["value"]) for clip, item in found if "value" in item]

    def _examples(self, results: Results) -> list[tuple[Clip, str]]:
        if not self.setup.examples or not self._ranking():
            return []
        best = self.setup.systems[0]
        sign = -1 if self.metrics[self._ranking()].better == "higher" else 1
        ranked = {d: self._scores(best, self.clips_of(d), self._ranking(), results) for d in self.domains if d != "all"}
        worst_last = {d: [(clip, sign * value) for clip, value in scores] for d, scores in ranked.items()}
        return pick_examples(worst_last, self.setup.examples)

    def _about_systems(self, results: Results) -> Section:
        named = {
            "sample_rate": "Hz", "codebooks": "codebooks", "nominal_kbps": "nominal kbps", "tokens_per_second": "tokens/s",
            "frame_rate": "frames/s", "latency_ms": "latency ms", "encode_realtime": "encode x", "decode_realtime": "decode x",
            "realtime_factor": "both x", "peak_mb": "peak MB", "parameters": "parameters",
        }  # fmt: skip
        lines = []
        for system in self.setup.systems:
            facts = facts_of(system, results, self.setup.device)
            lines.append([system.label, *(_figure(facts.get(name)) for name in named)])
        text = (
            "Speeds (x) are seconds of audio per second of processor time (of the wall on a GPU); peak memory is that of a "
            "fresh process that loads the codec and codes ten seconds (on a GPU what PyTorch took of the card), or of the "
            "command (10 MB or more); latency is the algorithm's."
        )
        return Section("Systems", text, (Table(["codec", *named.values()], lines),))

    def _about_metrics(self) -> Section:
        lines = [
            [metric.label, metric.unit, metric.better, metric.full_version, self.obstacles[name] or "computed"]
            for name, metric in self.metrics.items()
        ]
        text = (
            f"Estimate and target are compared at {self.setup.sample_rate} Hz, mono, of the target's length, unshifted; "
            "resampled by soxr VHQ. Speech metrics are computed on speech only. What failed takes no part in any mean."
        )
        return Section("Metrics", text, (Table(["metric", "unit", "better", "version", "state"], lines),))

    def _failed(self, results: Results) -> Section:
        lines = [[d["system"], d["clip"], name, why] for d in self._details(results) for name, why in d["failures"].items()]
        text = f"{len(lines)} values could not be computed." if lines else "Every value could be computed."
        return Section("Failures", text, (Table(["codec", "clip", "metric", "why"], lines),) if lines else ())

    def _not_computed(self) -> dict[str, str]:
        return {name: obstacle for name, obstacle in self.obstacles.items() if obstacle}

    def _details(self, results: Results) -> list[dict[str, Any]]:
        details = []
        for system in self.setup.systems:
            for clip in self.setup.tested:
                job = self._job(system, clip)
                found = {name: results[job.key(name)] for name in job.metrics}
                details.append(
                    {
                        "system": system.label, "clip": clip.name, "domain": clip.domain,
                        "values": {name: item["value"] for name, item in found.items() if "value" in item},
                        "failures": {n: item.get("failure") or item["error"] for n, item in found.items()
                                     if "failure" in item or "error" in item},
                    }
                )  # fmt: skip
        return details


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
