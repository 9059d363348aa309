"""The reconstruction suite on systems whose scores are known: pairing, rows, failures, report, resuming."""

import json
import math

import numpy as np
import pytest
import soundfile
import torch

from toneme.eval.clips import find_clips
from toneme.eval.jobs import Cache, run_jobs
from toneme.eval.reconstruction import Pair, Reconstruction, make_pair, measure, pack, pick_metrics, unpack
from toneme.eval.results import markdown, write_results
from toneme.eval.suite import Setup

from .signals import noise, tone
from .standins import Scaled

METRICS = ("si_sdr", "loudness_difference", "delay", "mel_distance", "voicing_f1", "dnsmos", "frechet_mel")


@pytest.fixture
def clips(tmp_path):
    for name, audio in {
        "speech/a.wav": 0.3 * tone(150, 24000, 1.5) + 0.01 * noise(36000),
        "speech/b.wav": 0.2 * tone(220, 24000, 1.0) + 0.01 * noise(24000),
        "music/c.wav": 0.1 * noise(24000),
        "music/silent.wav": torch.zeros(24000),
    }.items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, audio.numpy(), 24000)
    return tuple(find_clips(tmp_path / "data", {".wav"}))


def found(setup, cache):
    suite = Reconstruction(setup)
    jobs = [job for job in suite.jobs() if not job.alone]  # how fast they are is another test's
    results = run_jobs(jobs, cache)
    results |= run_jobs(suite.more_jobs(results), cache)
    return suite.find(results), results


@pytest.fixture
def cache(tmp_path):
    cache = Cache(tmp_path / "cache.sqlite")
    yield cache
    cache.close()


def test_estimate_and_target_are_of_one_rate_and_length(clips):
    pair, bits = make_pair(Scaled(0.5, later=240), clips[2], 16000, "cpu")
    assert pair.estimate.shape == pair.target.shape == (24000,)
    assert bits == pytest.approx(750)
    estimate, target, rate = pair.at(8000)
    assert (len(estimate), len(target), rate) == (12000, 12000, 8000)
    assert measure(pick_metrics(["delay"])["delay"], pair)["value"] == pytest.approx(10, abs=0.1)


def test_infinite_and_raised_values_are_failures():
    silent, same = Pair(tone(200), torch.zeros(16000), 16000), Pair(tone(200), tone(200), 16000)
    metric = pick_metrics(["si_sdr"])["si_sdr"]
    assert "silent" in measure(metric, silent)["failure"]
    assert "inf" in measure(metric, same)["failure"] or measure(metric, same)["value"] > 100


def test_rows_have_known_values_and_count_failures(clips, cache):
    setup = Setup((Scaled(0.5), Scaled(0.25)), clips, 24000, METRICS)
    rows = {(r.system, r.domain, r.metric): r for r in found(setup, cache)[0].rows}
    half = rows["scaled 0.5", "speech", "loudness_difference"]
    assert half.summary.mean == pytest.approx(20 * math.log10(0.5), abs=1e-2)
    assert half.facts["kbps"] == pytest.approx(0.5)
    assert (half.unit, half.better) == ("LU", "zero")
    music = rows["scaled 0.25", "music", "loudness_difference"].summary
    assert (music.clips, music.failures) == (1, 1)  # silence has no loudness
    assert rows["scaled 0.25", "all", "loudness_difference"].summary.clips == 3
    assert ("scaled 0.5", "music", "voicing_f1") not in rows  # a metric of speech
    assert ("scaled 0.5", "all", "voicing_f1") not in rows
    assert rows["scaled 0.5", "speech", "dnsmos"].summary is None
    assert rows["scaled 0.5", "speech", "dnsmos"].note.startswith("weights not available")
    assert "more than 48 windows" in rows["scaled 0.5", "speech", "frechet_mel"].note


def test_a_system_that_fails_is_counted_and_not_kept(clips, cache):
    setup = Setup((Scaled(0.5), Scaled(0.0)), clips[2:], 24000, ("si_sdr",), examples=1)
    findings, results = found(setup, cache)
    row = next(row for row in findings.rows if row.system == "scaled 0")
    assert row.summary is None
    assert row.note == "failed on all 2 clips"
    assert (row.to_dict()["failures"], row.to_dict()["mean"]) == (2, None)
    details = [d for d in findings.details["clips"] if d["system"] == "scaled 0"]
    assert all(d["failures"] == {"si_sdr": "nothing came out: try another factor"} for d in details)
    errors = {key for key, value in results.items() if "error" in value}
    assert errors
    assert not cache.get(errors)


def test_samples_that_are_no_numbers_fail_every_metric(clips, cache):
    findings, _ = found(Setup((Scaled(math.nan), Scaled(0.5)), clips[:2], 24000, ("si_sdr", "frechet_mel"), 0), cache)
    (failed, _) = (row for row in findings.rows if row.system == "scaled nan")
    assert (failed.summary, failed.failures) == (None, 2)
    reasons = [why for d in findings.details["clips"] for why in d["failures"].values() if d["system"] == "scaled nan"]
    assert len(reasons) == 4
    assert all("no finite numbers" in why for why in reasons)


def test_a_second_run_computes_nothing(clips, cache, monkeypatch):
    setup = Setup((Scaled(0.5),), clips, 24000, METRICS)
    first, _ = found(setup, cache)
    monkeypatch.setattr(Scaled, "rebuild", lambda *_: pytest.fail("computed again"))
    second, _ = found(setup, cache)
    assert [row.to_dict() for row in first.rows] == [row.to_dict() for row in second.rows]


def test_files_hold_every_row_and_ask_nothing_of_the_network(clips, cache, tmp_path):
    setup = Setup((Scaled(0.5), Scaled(0.25)), clips, 24000, METRICS)
    findings = {"reconstruction": found(setup, cache)[0]}
    write_results(tmp_path / "out", {"command": "codec eval <x>"}, findings)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["report.html", "results.csv", "results.json"]
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    assert len(rows) == len(findings["reconstruction"].rows)
    assert {
        "kbps",
        "tokens_per_second",
        "frame_rate",
        "latency_ms",
        "realtime_factor",
        "peak_mb",
        "parameters",
        "version",
    } <= set(rows[0])
    assert (tmp_path / "out" / "results.csv").read_text().count("\n") == len(rows) + 1
    page = (tmp_path / "out" / "report.html").read_text()
    assert "http:" not in page
    assert "https:" not in page
    assert "<script" not in page
    for part in (
        "<svg",
        "data:image/png;base64,",
        "data:audio/flac;base64,",
        "weights not available",
        "&lt;x&gt;",
        "worst clips",
    ):
        assert part in page
    assert "| scaled 0.5 | 0.50 |" in markdown(findings, {})


def test_packed_arrays_come_back():
    array = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    np.testing.assert_array_equal(unpack(json.loads(json.dumps(pack(array)))), array)


def test_a_metric_of_the_set_alone_ranks_no_clip(clips, cache):
    findings, _ = found(Setup((Scaled(0.5),), clips[:2], 24000, ("frechet_mel",)), cache)
    assert [row.summary for row in findings.rows] == [None] * len(findings.rows)
    assert "worst" not in findings.sections[0].tables[-1].head[0]
