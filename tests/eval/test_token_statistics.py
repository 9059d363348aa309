"""Token statistics: closed forms, scikit-learn beside the information, and a whole run on a small codec."""

import json

import numpy as np
import pytest
import torch

from toneme.codecs.toneme24k import TonemeCodec, TonemeConfig
from toneme.eval.clips import find_clips
from toneme.eval.commands import command_systems
from toneme.eval.jobs import Cache, run_jobs
from toneme.eval.suite import Setup, make_suite
from toneme.eval.systems import codec_systems
from toneme.eval.token_statistics import agreement, entropy, mutual_information, perturb, pool

from .test_measurement import SMALL


def test_entropy_of_known_shares():
    assert entropy(np.arange(8)) == 3
    assert entropy(np.array([0, 0, 1, 2])) == 1.5
    assert entropy(np.zeros(5)) == 0


def test_information_of_known_pairs_and_scikit_learns_estimate():
    rng = np.random.default_rng(0)
    codes, others = rng.integers(16, size=20_000), rng.integers(16, size=20_000)
    assert mutual_information(codes, others) == pytest.approx(0, abs=0.01)  # the plug-in estimate alone would be 0.008 above
    assert mutual_information(codes, (codes * 3) % 16) == pytest.approx(4, abs=0.02)
    assert mutual_information(codes, codes // 4) == pytest.approx(2, abs=0.02)
    metrics = pytest.importorskip("sklearn.metrics")
    mixed, shuffled = (
        np.where(others < 8, codes, others),
        np.random.default_rng(0).permutation(np.where(others < 8, codes, others)),
    )
    theirs = (metrics.mutual_info_score(codes, mixed) - metrics.mutual_info_score(codes, shuffled)) / np.log(2)
    assert mutual_information(codes, mixed) == pytest.approx(theirs, abs=1e-9)


def test_agreement_is_over_common_frames():
    assert agreement([np.array([1, 2, 3, 4])], [np.array([1, 0, 3])]) == [pytest.approx(2 / 3)]


def test_changes_of_the_audio_are_what_they_are_called():
    audio = torch.sin(torch.arange(48000) / 7)
    changed = perturb(audio)
    assert changed["shift"][0] == 0
    torch.testing.assert_close(changed["shift"][1:], audio[:-1])
    assert (changed["gain"] / audio)[5].item() == pytest.approx(10 ** (-6 / 20))
    noise = changed["noise"] - audio
    assert 10 * (noise.square().mean() / audio.square().mean()).log10().item() == pytest.approx(-40, abs=0.1)


def test_streams_of_several_rates_are_pooled_by_frame():
    def packed(codes):
        from toneme.eval.reconstruction import pack

        return pack(np.array(codes))

    item = {
        "codes": [packed([0, 1, 2]), packed([0, 0, 1, 1, 2, 2])], "seconds": 1.0, "file_bytes": 125, "sizes": [4, 4],
        "rates": [3.0, 6.0], "roles": ["acoustic"] * 2,
    }  # fmt: skip
    pooled = pool([item, item])
    assert pooled.usage == [0.75, 0.75]
    assert pooled.entropy_kbps == pytest.approx(np.log2(3) * 9 / 1000)
    assert pooled.file_kbps == pytest.approx(1.0)
    assert pooled.neighbours > 0.3


def test_a_whole_run_gives_rows_and_tables(samples, tmp_path):
    torch.manual_seed(0)
    TonemeCodec(TonemeConfig(**SMALL), "tiny").eval().save(tmp_path / "tiny")
    clips = find_clips(samples, {".wav", ".flac"}, limit=2, seconds=1.0)
    setup = Setup(tuple(codec_systems(str(tmp_path / "tiny"), [1, 4])), tuple(clips))
    suite = make_suite("tokens", setup)
    cache = Cache(tmp_path / "cache.sqlite")
    findings = suite.find(run_jobs([job for job in suite.jobs() if not job.alone], cache))
    cache.close()
    values = {row.metric: row.summary.mean for row in findings.rows}
    assert {row.system for row in findings.rows} == {"tiny x4"}  # the deepest alone
    assert values["nominal_kbps"] == pytest.approx(2.0)
    assert 0 < values["entropy_kbps"] < 2.0
    assert values["file_kbps"] > values["entropy_kbps"]
    assert 0 < values["usage"] < 100
    assert all(
        0 <= values[name] <= 100 for name in ("stays_shift", "stays_gain", "stays_noise", "generation_1", "generation_10")
    )
    assert len(findings.sections[1].tables[0].lines) == 4
    assert [len(line) for line in findings.sections[1].tables[1].lines] == [4, 4, 4]
    json.dumps([row.to_dict() for row in findings.rows], allow_nan=False)


def test_what_has_no_tokens_and_a_codec_that_always_fails_have_rows_that_say_so(tmp_path):
    torch.manual_seed(0)
    TonemeCodec(TonemeConfig(**SMALL), "tiny").eval().save(tmp_path / "tiny")
    (tmp_path / "a.wav").write_bytes(b"no audio")
    clips = tuple(find_clips(tmp_path, {".wav"}))
    setup = Setup((*codec_systems(str(tmp_path / "tiny"), [4]), *command_systems("copy: cp {in} {wav}")), clips)
    suite = make_suite("tokens", setup)
    results = {key: {"error": "no luck"} for job in suite.jobs() for key in job.keys}
    rows = {row.system: row for row in suite.find(results).rows}
    assert (rows["tiny x4"].note, rows["tiny x4"].failures) == ("failed on all 1 clips", 1)
    assert rows["copy"].note.startswith("no tokens (")
