"""The suite downstream: a whole run on a small codec and a made corpus, twice."""

import json

import pytest
import torch

from toneme.codecs.toneme24k import TonemeCodec, TonemeConfig
from toneme.eval.clips import find_clips
from toneme.eval.jobs import Cache, run_jobs
from toneme.eval.probes import downstream
from toneme.eval.probes.downstream import counts_of, pick_views
from toneme.eval.probes.features import TeacherFeatures
from toneme.eval.probes.fitting import Budget
from toneme.eval.results import write_results
from toneme.eval.suite import Setup, make_suite
from toneme.eval.systems import codec_systems

from ..test_measurement import SMALL
from .corpus import write_corpus


@pytest.fixture
def suite(tmp_path, monkeypatch):
    monkeypatch.setattr(downstream, "CLASSES", Budget(steps=10, batch=8, rate=2e-2, seeds=(0, 1)))
    monkeypatch.setattr(downstream, "CHARACTERS", Budget(steps=2, batch=8, rate=1e-2, seeds=(0,)))
    monkeypatch.setattr(TeacherFeatures, "obstacle", staticmethod(lambda: "weights not available (made)"))
    torch.manual_seed(0)
    TonemeCodec(TonemeConfig(**SMALL), "tiny").eval().save(tmp_path / "tiny")
    clips = find_clips(write_corpus(tmp_path / "corpus"), {".wav"})
    return make_suite("downstream", Setup(tuple(codec_systems(str(tmp_path / "tiny"), [2])), tuple(clips)))


def quick(suite):
    return [job for job in suite.jobs() if not job.alone]  # how fast codecs are is another test's


def test_a_whole_run_gives_rows_gaps_and_what_is_missing(suite, tmp_path):
    cache = Cache(tmp_path / "cache.sqlite")
    results = run_jobs(quick(suite), cache)
    results |= run_jobs(suite.more_jobs(results), cache)
    findings = suite.find(results)
    again = run_jobs([*quick(suite), *suite.more_jobs(results)], cache)
    assert suite.find(again).rows == findings.rows  # from the cache alone
    assert cache.get(results) == results
    cache.close()
    rows = {(row.system, row.domain, row.metric): row for row in findings.rows}
    assert {system for system, domain, metric in rows if metric == "accuracy"} == {"tiny x1", "tiny x2", "log-mel", "chance"}
    assert rows["log-mel", "digits", "accuracy"].summary.mean == 100  # two pitches
    assert rows["chance", "esc10", "accuracy"].summary.mean == 50
    assert rows["tiny x1", "esc10", "accuracy"].summary.clips == 12  # every clip is tested in one of three folds
    assert rows["tiny x1", "digits", "accuracy"].summary.clips == 4
    facts = rows["tiny x2", "digits_new_speaker", "accuracy"].facts
    assert (facts["folds"], facts["seeds"], facts["codebooks"]) == (2, 2, 2)
    gap = rows["tiny: first codebook less all 2", "esc10", "accuracy_gap"].summary.mean
    one, both = (rows[f"tiny x{n}", "esc10", "accuracy"].summary.mean for n in (1, 2))
    assert gap == pytest.approx(one - both)
    assert rows["tiny x2", "recognition_made", "cer"].summary.mean >= 0
    notes = {row.domain or row.system: row.note for row in findings.rows if row.summary is None}
    assert set(notes) == {"keyword", "speaker", "intent", "WavLM Base+"}
    assert notes["WavLM Base+"] == "weights not available (made)"
    content = write_results(tmp_path / "report", {}, {"downstream": findings})
    json.dumps(content, allow_nan=False)
    report = (tmp_path / "report" / "report.html").read_text()
    assert "Downstream: gaps" in report
    assert "12 of its 12 clips lie under train/" in report


def test_clips_that_cannot_be_read_are_told_and_left_out(suite, tmp_path):
    (tmp_path / "corpus" / "train" / "2.wav").write_bytes(b"no audio")
    for name in ("probes/esc10.csv", "manifest.csv"):
        (tmp_path / "corpus" / name).unlink()
    cache = Cache(tmp_path / "cache.sqlite")
    results = run_jobs(quick(suite), cache)
    results |= run_jobs(suite.more_jobs(results), cache)
    cache.close()
    findings = suite.find(results)
    row = next(row for row in findings.rows if (row.system, row.domain) == ("tiny x2", "digits"))
    assert (row.summary.clips, row.summary.failures) == (3, 1)
    assert "tiny x2, train/2.wav" in findings.details["failures"]


def test_views_are_the_first_all_and_roles():
    assert pick_views("a", ["acoustic"] * 8) == {"a x1": (0,), "a x8": tuple(range(8))}
    mixed = pick_views("b", ["semantic", "acoustic", "acoustic"])
    assert mixed == {"b x1": (0,), "b x3": (0, 1, 2), "b acoustic": (1, 2)}  # the first is what is semantic
    assert pick_views("c", ["semantic"]) == {"c x1": (0,)}


def test_counts_are_added_over_seeds():
    found = [{"test": [3, 5], "values": {"wer": [[1, 4], [0, 2]]}}, {"test": [3], "values": {"wer": [[2, 4]]}}]
    assert counts_of(found, "wer") == {3: (3, 8), 5: (0, 2)}
