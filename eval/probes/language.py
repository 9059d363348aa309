"""The suite `language`: how well a small language model learns a codec's tokens, and what it makes of them.

- model: the decoder-only transformer of lm.models over a delay pattern, one for each codec's least and largest depth asked for;
  width 128, 4 layers, 4 heads; 200 steps of AdamW on 8 pieces of at most 3 s, seed 0, one thread: the same budget for every
  codec, nothing chosen by the test. It learns from at most 1000 clips outside of eval/, or, where the data has no such folders,
  from four clips in five, and is tested on the others.
- bits per second of audio: -log2 of the probabilities that the model gives the codes of the tested clips, in pieces of at most
  3 s heard from their start; over all codebooks, so that codecs of unlike rates can be compared. Beside it the nominal rate and
  the rate without context, by how often each code was there to learn from.
- perplexity: 2 to the bits per token. Tokens of codecs differ in number and in size; compare bits per second.
- continuations: of 1 s of a tested clip, 2 s drawn from the model at temperature 1, decoded, against what follows in the clip.
  Metrics are those that need no waveform to be the same: spectra, level, voice, quality, and the Frechet distances of all
  continuations to all that follows. Beside each, under "real codes", what the codec makes of the codes of the clip itself.

95 % bootstrap intervals are over clips; they do not count the draw of the model's first weights and of its batches.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from ...codecs.errors import TonemeError
from ..clips import Clip
from ..jobs import Job, Results
from ..measurement import facts_of, measure_jobs
from ..metrics import Measure, SetMetric, pick_metrics
from ..reconstruction import ARROWS, unpack
from ..suite import Findings, Row, Section, Setup, Suite, Table, deepest, plain_codecs, words_of
from ..summary import Summary, summarise, summarise_ratio, summarise_set
from ..systems import CodecSystem
from .features import CodesJob
from .language_model import VERSION, LanguageBudget, LanguageJob

BUDGET = LanguageBudget()
JUDGES = (
    "dnsmos", "utmos", "speaker_similarity", "loudness_difference", "mel_distance", "log_spectral", "frechet_mel",
    "frechet_wavlm",
)  # fmt: skip
TOLD = {"model": "continuation", "codec": "real codes"}
EVERY = 5  # one clip of so many is tested, where the data does not say which


class Language(Suite):
    """Language models of every codec at its least and its largest depth that was asked for."""

    name, takes_tokens = "language", True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        codecs = plain_codecs(setup.systems)
        self.deepest = deepest(codecs)
        least = {system.source: system for system in reversed(codecs)}
        self.systems = [system for system in codecs if system in (least[system.source], self.deepest[system.source])]
        self.judges = {name: metric for name, metric in pick_metrics(setup.metrics).items() if name in JUDGES}
        self.obstacles = {name: metric.obstacle() for name, metric in self.judges.items()}

    @cached_property
    def parts(self) -> tuple[tuple[Clip, ...], tuple[Clip, ...]]:
        """The clips to learn from and to be tested on, in the order of their digests, in which nothing is hidden."""
        clips = sorted({clip.digest: clip for clip in self.setup.clips}.values(), key=lambda clip: clip.digest)
        tested = [clip for clip in clips if clip.split == "eval"]
        learned = [clip for clip in clips if clip.split == "train"]
        if not tested or not learned:
            tested, learned = clips[::EVERY], [clip for i, clip in enumerate(clips) if i % EVERY]
        return tuple(learned[: BUDGET.clips]), tuple(tested)

    def jobs(self) -> list[Job]:
        """Return the measurement of every codec, and one job for each and clip."""
        clips = [clip for part in self.parts for clip in part]
        measured = measure_jobs(self.systems, self.setup.tested, self.setup.device)
        return [*measured, *(CodesJob(system, clip) for system in self.deepest.values() for clip in clips)]

    def more_jobs(self, results: Results) -> list[Job]:
        """Return the models: the codes are among the results of the first jobs."""
        return list(self._models(results).values())

    def _models(self, results: Results) -> dict[str, LanguageJob]:
        """Return the job of every system whose codec could encode something, by its label."""
        learned, tested = self.parts
        usable = tuple(name for name in self.judges if not self.obstacles[name])
        jobs = {}
        for system in self.systems:
            found = {clip.digest: results[key] for key, clip in self._codes(system) if "error" not in results[key]}
            if found:
                known = [tuple(clip for clip in part if clip.digest in found) for part in (learned, tested)]
                jobs[system.label] = LanguageJob(system, found, known[0], known[1], usable, self.setup.sample_rate, BUDGET)
        return jobs

    def _codes(self, system: CodecSystem) -> Iterator[tuple[str, Clip]]:
        for clip in (clip for part in self.parts for clip in part):
            yield CodesJob(self.deepest[system.source], clip).keys[0], clip

    def find(self, results: Results) -> Findings:
        """Return rows, tables of rates, of codebooks and of continuations, and what could not be done."""
        rows, found, failures = [], dict[str, dict[str, Any]](), self._failures(results)
        for label, job in self._models(results).items():
            result = results[job.keys[0]]
            if "error" in result:
                failures[label] = result["error"]
                continue
            found[label] = result
            facts = self._facts(job, result, results)
            rows += self._rates(job, result, facts) + self._continuations(job, result, facts)
        learned, tested = self.parts
        text = f"{words_of(__doc__)}\n\nHere: {len(learned)} clips to learn from, {len(tested)} to be tested on."
        sections = [
            Section("Language models", text, (*self._rates_table(rows), *_codebooks(found))),
            Section("Language models: continuations", "", _continuations_table(rows)),
            Section("Language models: failures", tables=_failures_table(failures)),
        ]
        return Findings(
            [*rows, *self.absent_rows()], [section for section in sections if section.tables], {"failures": failures}
        )

    def _facts(self, job: LanguageJob, result: Mapping[str, Any], results: Results) -> dict[str, Any]:
        fit = job.budget.fit
        return {"kbps": job.system.about.nominal_kbps} | facts_of(job.system, results, self.setup.device) | {
            "model_parameters": result["parameters"], "model_steps": fit.steps, "model_batch": fit.batch,
            "model_seed": fit.seeds[0], "seconds_to_learn_from": round(result["seconds"], 1),
            "seconds_learned": round(fit.steps * min(fit.batch, result["pieces"]) * result["seconds"] / result["pieces"], 1),
        }  # fmt: skip

    def _rates(self, job: LanguageJob, result: Mapping[str, Any], facts: Mapping[str, Any]) -> list[Row]:
        domains = list(dict.fromkeys(clip.domain or "audio" for clip in job.tested))
        rows = []
        for domain in domains if len(domains) == 1 else [*domains, "all"]:
            inside = [clip.digest for clip in job.tested if domain in ("all", clip.domain or "audio")]
            clips = [result["clips"][digest] for digest in inside if digest in result["clips"]]
            if not clips:
                continue
            model, plain = ([(sum(clip[by]), clip["seconds"]) for clip in clips] for by in ("bits", "plain"))
            per_token = [(bits, seconds * result["tokens_per_second"]) for bits, seconds in model]

            def row(metric: str, label: str, unit: str, summary: Summary, domain: str = domain) -> Row:
                return Row(self.name, job.system.label, domain, metric, label, unit, "lower", VERSION, summary, dict(facts))

            rows += [
                row("bits_per_second", "bits per second of audio", "bit/s", summarise_ratio(model, scale=1)),
                row("plain_bits_per_second", "without context", "bit/s", summarise_ratio(plain, scale=1)),
                row("token_perplexity", "perplexity per token", "", _each(summarise_ratio(per_token, scale=1), _power)),
            ]
        return rows

    def _continuations(self, job: LanguageJob, result: Mapping[str, Any], facts: Mapping[str, Any]) -> list[Row]:
        rows = []
        for name, metric in self.judges.items():
            for who, label in TOLD.items():
                found = result["continuations"][who].get(name, [])
                summary, note = _judged(metric, found) if not self.obstacles[name] else (None, self.obstacles[name])
                rows.append(
                    Row(self.name, job.system.label, "all", f"{'continued' if who == 'model' else 'coded'}_{name}",
                        f"{label}: {metric.label}", metric.unit, metric.better, metric.full_version, summary, dict(facts), note)
                )  # fmt: skip
        return rows

    def _rates_table(self, rows: Sequence[Row]) -> tuple[Table, ...]:
        shown = [row for row in rows if row.metric.endswith("bits_per_second") or row.metric == "token_perplexity"]
        names = {row.metric: row.label + (f", {row.unit}" if row.unit else "") + ARROWS[row.better] for row in shown}
        cells = {(row.system, row.domain, row.metric): row for row in shown}
        lines = []
        for system, domain in dict.fromkeys((row.system, row.domain) for row in shown):
            mine = [cells[system, domain, name] for name in names]
            facts = mine[0].facts
            lines.append(
                [system, domain, f"{1000 * facts['nominal_kbps']:.0f}", *(_short(row.summary) for row in mine),
                 f"{facts['model_parameters']:,}", f"{facts['seconds_learned']:.0f} of {facts['seconds_to_learn_from']:.0f}"]
            )  # fmt: skip
        head = ["codec", "clips", "nominal, bit/s", *names.values(), "model's parameters", "seconds learned"]
        return (Table(head, lines + self.absent_lines(len(head))),) if lines else ()

    def _failures(self, results: Results) -> dict[str, str]:
        pairs = [(system, key, clip) for system in self.deepest.values() for key, clip in self._codes(system)]
        return {f"{s.label}, {clip.name}": results[key]["error"] for s, key, clip in pairs if "error" in results[key]}


def _judged(metric: Measure, found: Sequence[Mapping[str, Any]]) -> tuple[Summary | None, str]:
    """Return the summary of what a metric said of continuations, or why there is none."""
    good = [item for item in found if "failure" not in item]
    if not good:
        return None, next((item["failure"] for item in found), f"no clip that {metric.label} is for is long enough")
    if not isinstance(metric, SetMetric):
        return summarise([item["value"] for item in good], len(found) - len(good)), ""
    pairs = [(unpack(item["estimate"]), unpack(item["target"])) for item in good]
    try:
        return summarise_set(pairs, metric.distance, len(found) - len(good)), ""
    except TonemeError as error:
        return None, str(error)


def _each(summary: Summary, change: Callable[[float], float]) -> Summary:
    """Return a summary whose mean and interval are changed by a rising function."""
    low, high = (None if end is None else change(end) for end in (summary.low, summary.high))
    return Summary(change(summary.mean), low, high, None, summary.clips, summary.failures)


def _power(bits: float) -> float:
    return 2.0**bits


def _codebooks(found: Mapping[str, Mapping[str, Any]]) -> tuple[Table, ...]:
    """Return the bits per token of every codebook, by the model and without context."""
    lines = []
    for label, result in found.items():
        clips = list(result["clips"].values())
        each = result["tokens_per_second"] / len(clips[0]["bits"]) * sum(clip["seconds"] for clip in clips)
        for by, words in (("bits", label), ("plain", f"{label}, without context")):
            sums = [sum(column) for column in zip(*(clip[by] for clip in clips), strict=True)]
            lines.append([words, ", ".join(f"{bits / each:.2f}" for bits in sums)])
    return (Table(["bits per token", "of each codebook, coarse first"], lines),) if lines else ()


def _continuations_table(rows: Sequence[Row]) -> tuple[Table, ...]:
    shown = [row for row in rows if row.metric.startswith(("continued_", "coded_"))]
    names = {row.metric.split("_", 1)[1]: row for row in shown}
    heads = [f"{row.label.split(': ')[1]}{', ' * bool(row.unit)}{row.unit}{ARROWS[row.better]}" for row in names.values()]
    lines = []
    for system in dict.fromkeys(row.system for row in shown):
        for prefix, words in (("continued", "continued by the model"), ("coded", "real codes")):
            cells = {row.metric: row for row in shown if row.system == system}
            mine = [cells[f"{prefix}_{name}"] for name in names]
            lines.append([f"{system}, {words}", *(str(row.summary or row.note.split(" (")[0]) for row in mine)])
    return (Table(["codec", *heads], lines),) if lines else ()


def _short(summary: Summary | None) -> str:
    return f"{summary.mean:.1f} [{summary.low:.1f}, {summary.high:.1f}]" if summary else "-"


def _failures_table(failures: Mapping[str, str]) -> tuple[Table, ...]:
    return (Table(["what", "why"], [[name, why] for name, why in failures.items()]),) if failures else ()
