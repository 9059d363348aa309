"""The suite `downstream`: what small probes learn from frozen tokens, and from continuous features beside them.

- tasks: classification from every probes/NAME.csv of the data, by its own split, folds, or speakers in turn; speech recognition
  by CTC with characters as units from the transcripts of its manifest.csv; so too of folders named with --probes. Files named
  `digits`, `keyword`, `speaker`, `intent` and `esc10` are told of where they are missing.
- inputs: a codec's first codebook, and as many as the largest depth asked for; its semantic and its acoustic ones apart, where
  it has both; log-mel spectra and the mean hidden state of WavLM Base+. Chance is the most frequent class of what is learned
  from.
- probes: embeddings learned from nothing, attention over codebooks, one convolution and attentive pooling, or bidirectional
  LSTMs over frames joined to 25 Hz. The budget of steps is fixed and the same for every input; nothing is chosen by the test.
- figures: all tested items of all folds together, mean over three seeds where there are fewer than three folds; 95 % bootstrap
  intervals over items. Gaps are over the same items, in points. Intervals count neither the draw of training clips nor that
  items of one speaker are alike.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib.util import find_spec
from typing import Any

from ...codecs.errors import how_to_install
from ..jobs import Job, Results
from ..measurement import facts_of, measure_jobs
from ..suite import Findings, Row, Section, Setup, Suite, Table, deepest, words_of
from ..summary import summarise_ratio
from ..systems import CodecSystem
from .features import CodesJob, Features, LogMel, TeacherFeatures, TokenFeatures
from .fitting import CHARACTERS, CLASSES, Budget, FitJob
from .tasks import Task, find_tasks

ROLES = ("semantic", "acoustic")
ARROWS = {"higher": "↑", "lower": "↓"}
Counts = dict[int, tuple[float, float]]  # of each item: errors or hits, out of how many, all seeds together


class Downstream(Suite):
    """Probes of every task on every input."""

    name, takes_tokens = "downstream", True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.systems = list(deepest(setup.systems).values())
        self.obstacle = TeacherFeatures.obstacle()

    @cached_property
    def found(self) -> tuple[list[Task], dict[str, str]]:
        """The tasks, and why others cannot be done."""
        tasks, missing = find_tasks(self.setup.clips, *self.setup.probes)
        if find_spec("jiwer") is None:
            why = f"the package jiwer is not installed: {how_to_install('eval')}"
            missing |= {task.name: why for task in tasks if task.speech}
        return [task for task in tasks if task.name not in missing], missing

    def jobs(self) -> list[Job]:
        """Return the measurement of every codec, and one job for each and clip of a task."""
        clips = {clip.digest: clip for task in self.found[0] for clip in task.clips}
        measured = measure_jobs(self.systems, self.setup.tested, self.setup.device)
        return [*measured, *(CodesJob(system, clip) for system in self.systems for clip in clips.values())]

    def more_jobs(self, results: Results) -> list[Job]:
        """Return the probes: the codes are among the results of the first jobs."""
        return list(self._fits(results))

    def _fits(self, results: Results) -> Iterator[FitJob]:
        for task in self.found[0]:
            continuous = [LogMel(), *([] if self.obstacle else [TeacherFeatures()])]
            tokens = [features for system in self.systems for features in self._tokens(system, task, results)]
            for features in [*tokens, *continuous]:
                yield FitJob(task, features, budget_of(task))

    def _tokens(self, system: CodecSystem, task: Task, results: Results) -> list[Features]:
        keys = {clip.digest: CodesJob(system, clip).keys[0] for clip in task.clips}
        found = {digest: results[key] for digest, key in keys.items() if "error" not in results[key]}
        if not found:
            return []
        views = pick_views(system.name, next(iter(found.values()))["roles"])
        return [TokenFeatures(label, system, books, found) for label, books in views.items()]

    def find(self, results: Results) -> Findings:
        """Return rows of figures and gaps, tables of them and of attention, and what could not be done."""
        fits = list(self._fits(results))
        rows = [row for task in self.found[0] for row in self._chance(task)]
        rows += [row for fit in fits for row in self._rows(fit, results)]
        gaps = [row for task in self.found[0] for row in self._gaps(task, [f for f in fits if f.task is task], results)]
        absent = self._absent()
        failures = self._failures(fits, results)
        sections = [
            Section("Downstream", words_of(__doc__), _table("input", rows, self.found[0])),
            Section("Downstream: gaps", "In points, the first less the second.", _table("gap", gaps, self.found[0])),
            *_attentions(fits, results),
            Section("Downstream: tasks", tables=_tasks(self.found[0])),
            Section(
                "Downstream: not computed",
                tables=_listing(["what", "why"], {row.label or row.system: row.note for row in absent}),
            ),
            Section("Downstream: failures", tables=_listing(["what", "why"], failures)),
        ]
        details = {"failures": failures, "folds": _folds(fits, results)}
        return Findings([*rows, *gaps, *absent], [section for section in sections if section.tables], details)

    def _chance(self, task: Task) -> list[Row]:
        if task.speech:
            return []
        counts: list[tuple[float, float]] = []
        for split in task.splits:
            known = [task.labels[i] for i in split.train]
            likely = max(sorted(set(known)), key=known.count)
            counts += [(float(task.labels[i] == likely), 1.0) for i in split.test]
        return [self._row(task, "chance", "accuracy", counts, 0, {})]

    def _rows(self, fit: FitJob, results: Results) -> list[Row]:
        found = [results[key] for key in fit.keys if "error" not in results[key]]
        failures = len({name for item in found for name in item["failures"]})
        facts = {"folds": len(fit.task.splits), "seeds": len(fit.seeds)} | facts_of_features(
            fit.features, results, self.setup.device
        )
        label, rows = fit.features.label, []
        for metric in fit.task.metrics if found else []:
            rows.append(self._row(fit.task, label, metric, list(counts_of(found, metric).values()), failures, facts))
        return rows

    def _gaps(self, task: Task, fits: Sequence[FitJob], results: Results) -> list[Row]:
        found = {fit.features.label: [results[key] for key in fit.keys if "error" not in results[key]] for fit in fits}
        rows = []
        for label, one, other in self._pairs([fit.features for fit in fits]):
            for metric in task.metrics:
                first, second = counts_of(found[one], metric), counts_of(found[other], metric)
                both = [(first[i][0] / first[i][1] - second[i][0] / second[i][1], second[i][1]) for i in first if i in second]
                if both:
                    rows.append(self._row(task, label, metric, [(gap * size, size) for gap, size in both], 0, {}, gap=True))
        return rows

    def _pairs(self, features: Sequence[Features]) -> list[tuple[str, str, str]]:
        """Return label, first and second input of every gap."""
        pairs, baselines = [], [LogMel.label, *([] if self.obstacle else [TeacherFeatures.label])]
        for system in self.systems:
            mine = {f.books: f for f in features if isinstance(f, TokenFeatures) and f.system is system}
            if not mine:
                continue
            every = mine[max(mine, key=len)]
            if len(every.books) > 1:
                pairs.append((f"{system.name}: first codebook less all {len(every.books)}", mine[(0,)].label, every.label))
            apart = [mine.get(every.of_role(role)) for role in ROLES]
            if apart[0] and apart[1]:
                pairs.append((f"{system.name}: semantic less acoustic", apart[0].label, apart[1].label))
            pairs += [(f"{every.label} less {label}", every.label, label) for label in baselines]
        return pairs

    def _row(
        self, task: Task, system: str, metric: str, counts: Sequence[tuple[float, float]], failures: int,
        facts: Mapping[str, Any], gap: bool = False,
    ) -> Row:  # fmt: skip
        label, better = task.metrics[metric]
        name, label, unit = (f"{metric}_gap", f"{label}, gap", "points") if gap else (metric, label, "%")
        summary = summarise_ratio(counts, failures)
        return Row(
            self.name, system, task.name, name, f"{task.label}: {label}", unit, "" if gap else better,
            budget_of(task).version, summary,
            dict(facts), task.note,
        )  # fmt: skip

    def _absent(self) -> list[Row]:
        rows = [
            Row(self.name, "", name, "", name.replace("_", " "), "%", "", "", None, {}, why)
            for name, why in self.found[1].items()
        ]
        if self.obstacle:
            label = TeacherFeatures.label
            rows.append(Row(self.name, label, "", "", label, "%", "", "", None, {}, self.obstacle))
        return [*rows, *self.absent_rows()]

    def _failures(self, fits: Sequence[FitJob], results: Results) -> dict[str, str]:
        failures = {}
        for system in self.systems:
            for job in (CodesJob(system, clip) for task in self.found[0] for clip in task.clips):
                if "error" in (result := results[job.keys[0]]):
                    failures[f"{system.label}, {job.clip.name}"] = result["error"]
        for fit in fits:
            for split, result in ((key.split("|")[-2], results[key]) for key in fit.keys):
                own = {"": result["error"]} if "error" in result else result["failures"]
                where = f"{fit.features.label}, {fit.task.label}, {split}"
                failures |= {", ".join([where, name] if name else [where]): why for name, why in own.items()}
        return failures


def budget_of(task: Task) -> Budget:
    """Return what probes of a task may spend."""
    return CHARACTERS if task.speech else CLASSES


def pick_views(name: str, roles: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return labels and codebooks of what is probed of a codec: the first, all, those of each role."""
    views = {f"{name} x{depth}": tuple(range(depth)) for depth in sorted({1, len(roles)})}
    for role in ROLES if set(ROLES) <= set(roles) else ():
        books = tuple(k for k, its in enumerate(roles) if its == role)
        if books not in views.values():
            views[f"{name} {role}"] = books
    return views


def counts_of(found: Sequence[Mapping[str, Any]], metric: str) -> Counts:
    """Return what every tested item counts, over all splits and seeds that are there."""
    counts: Counts = {}
    for result in found:
        for item, (above, below) in zip(result["test"], result["values"][metric], strict=True):
            known = counts.get(item, (0.0, 0.0))
            counts[item] = known[0] + above, known[1] + below
    return counts


def facts_of_features(features: Features, results: Results, device: str) -> dict[str, Any]:
    """Return what is known of an input; rates are those of the codebooks that are used."""
    if not isinstance(features, TokenFeatures):
        return {"frame_rate": features.frame_rate}
    facts = {
        "kbps": round(features.kbps, 4), "nominal_kbps": round(features.kbps, 4), "codebooks": len(features.books),
        "tokens_per_second": round(sum(features.rates), 4), "roles": "+".join(sorted(set(features.roles))),
    }  # fmt: skip
    return facts_of(features.system, results, device) | facts


def _folds(fits: Sequence[FitJob], results: Results) -> list[dict[str, Any]]:
    """Return the figure of every fold and seed."""
    return [
        {"input": fit.features.label, "task": fit.task.name, "fold": split.name, "seed": seed, "metric": metric,
         "value": 100 * sum(above for above, _ in values) / sum(below for _, below in values), "items": len(values)}
        for fit in fits for split in fit.task.splits for seed in fit.seeds
        for metric, values in results[fit.key(split, seed)].get("values", {}).items()
    ]  # fmt: skip


def _table(first: str, rows: Sequence[Row], tasks: Sequence[Task]) -> tuple[Table, ...]:
    """Return one line for each system, one column for each task and metric."""
    columns = [(task, metric) for task in tasks for metric in task.metrics if any(row.domain == task.name for row in rows)]
    heads = [f"{task.label}: {metric} {ARROWS[task.metrics[metric][1]]}" for task, metric in columns]
    cells = {(row.system, row.domain, row.metric.removesuffix("_gap")): row.summary for row in rows}
    lines = []
    for system in dict.fromkeys(row.system for row in rows):
        found = [cells.get((system, task.name, metric)) for task, metric in columns]
        lines.append([system, *(f"{s.mean:.1f} [{s.low:.1f}, {s.high:.1f}]" if s else "-" for s in found)])
    return (Table([first, *heads], lines),) if lines else ()


def _attentions(fits: Sequence[FitJob], results: Results) -> list[Section]:
    """Return, for every codec and task, the share that each codebook has in what its probes hear."""
    lines = []
    for fit in fits:
        found = [results[key]["attention"] for key in fit.keys if results[key].get("attention")]
        if found and len(found[0]) > 1:
            shares = [100 * sum(item[k] for item in found) / len(found) for k in range(len(found[0]))]
            lines.append([fit.features.label, fit.task.label, ", ".join(f"{share:.0f}" for share in shares)])
    text = "Mean weight of each codebook in the sum that probes hear, in percent, coarse first."
    return [Section("Downstream: attention", text, (Table(["input", "task", "shares"], lines),))] if lines else []


def _tasks(tasks: Sequence[Task]) -> tuple[Table, ...]:
    heads = ["task", "clips", "labels", "splits", "note"]
    lines = [[t.label, str(len(t.clips)), str(len(set(t.labels))), str(len(t.splits)), t.note] for t in tasks]
    return (Table(heads, lines),) if lines else ()


def _listing(heads: list[str], found: Mapping[str, str]) -> tuple[Table, ...]:
    return (Table(heads, [[name, why] for name, why in found.items()]),) if found else ()
