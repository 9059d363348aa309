"""The suite language: a whole run on a small codec and a made corpus, twice, and what its rows and tables hold."""

import json
from dataclasses import replace

import pytest
import torch

from toneme.codecs.toneme24k import TonemeCodec, TonemeConfig
from toneme.eval.clips import find_clips
from toneme.eval.jobs import Cache, run_jobs
from toneme.eval.probes import language
from toneme.eval.probes.fitting import Budget
from toneme.eval.probes.language_model import LanguageBudget
from toneme.eval.results import write_results
from toneme.eval.suite import Setup, make_suite
from toneme.eval.systems import codec_systems

from ..test_measurement import SMALL
from .corpus import write_corpus

LITTLE = LanguageBudget(Budget(steps=3, batch=4, rate=1e-3, seeds=(0,)), 0.2, 0.1, 2, width=16, layers=1, heads=2)


@pytest.fixture
def setup(tmp_path, monkeypatch):
    monkeypatch.setattr(language, "BUDGET", LITTLE)
    torch.manual_seed(0)
    TonemeCodec(TonemeConfig(**SMALL), "tiny").eval().save(tmp_path / "tiny")
    clips = find_clips(write_corpus(tmp_path / "corpus"), {".wav"})
    chosen = ("mel_distance", "utmos", "pesq_wb", "frechet_mel")
    return Setup(tuple(codec_systems(str(tmp_path / "tiny"), [1, 2])), tuple(clips), 24000, chosen, absent={"far": "gone (x)"})


def run(suite, cache):
    results = run_jobs([job for job in suite.jobs() if not job.alone], cache)
    return suite.find(results | run_jobs(suite.more_jobs(results), cache))


def test_a_whole_run_gives_rows_tables_and_what_is_missing(setup, tmp_path):
    cache = Cache(tmp_path / "cache.sqlite")
    findings = run(make_suite("language", setup), cache)
    assert run(make_suite("language", setup), cache) == findings
    cache.close()
    rows = {(row.system, row.metric): row for row in findings.rows}
    plain, own = (rows["tiny x2", name].summary for name in ("plain_bits_per_second", "bits_per_second"))
    assert 0 < plain.low <= plain.mean <= plain.high
    assert own.clips == 3  # of twelve, every fifth
    assert rows["tiny x2", "token_perplexity"].summary.mean == pytest.approx(2 ** (own.mean / 100))
    assert rows["tiny x1", "bits_per_second"].summary.mean < own.mean
    facts = rows["tiny x1", "bits_per_second"].facts
    assert (facts["model_steps"], facts["kbps"]) == (3, 0.5)
    assert facts["seconds_learned"] > 0
    assert facts["model_parameters"] > 0
    assert rows["tiny x2", "continued_mel_distance"].summary.clips == 2
    assert rows["tiny x2", "coded_mel_distance"].summary.mean > 0
    assert "weights not available" in rows["tiny x2", "continued_utmos"].note
    assert "more than 48 windows" in rows["tiny x2", "continued_frechet_mel"].note
    assert rows["far", ""].note == "gone (x)"
    assert not [metric for _, metric in rows if "pesq" in metric]  # which compares waveforms
    content = write_results(tmp_path / "report", {}, {"language": findings})
    json.dumps(content, allow_nan=False)
    report = (tmp_path / "report" / "report.html").read_text()
    assert "tiny x2, continued by the model" in report
    assert "tiny x2, without context" in report
    assert "<td>far</td>" in report


def test_clips_of_the_splits_are_learned_from_and_tested_on(setup):
    named = [replace(clip, name=f"{'eval' if i % 3 else 'train'}/{i}.wav") for i, clip in enumerate(setup.clips)]
    learned, tested = make_suite("language", replace(setup, clips=tuple(named))).parts
    assert {clip.split for clip in learned} == {"train"}
    assert {clip.split for clip in tested} == {"eval"}
    learned, tested = make_suite("language", replace(setup, clips=tuple(named[::3]))).parts
    assert (len(learned), len(tested)) == (3, 1)
    assert not set(learned) & set(tested)
