"""Speed and memory: plausible figures of a codec and of a command, each in a process of its own."""

import pytest
import torch

from toneme.codecs.toneme24k import TonemeCodec, TonemeConfig
from toneme.eval import measurement
from toneme.eval.clips import find_clips
from toneme.eval.commands import command_systems
from toneme.eval.jobs import Cache, run_jobs
from toneme.eval.measurement import MeasureJob, facts_of
from toneme.eval.systems import codec_systems

SMALL = {"encoder_dim": 16, "encoder_blocks": (1, 1), "decoder_dim": 16, "decoder_blocks": (1, 1), "latent_dim": 8}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("codec") / "tiny"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        TonemeCodec(TonemeConfig(**SMALL), "tiny").eval().save(folder)
    return str(folder)


def test_depths_are_powers_of_two_or_what_was_asked_for(tiny):
    assert [s.label for s in codec_systems(tiny)] == ["tiny x1", "tiny x2", "tiny x4", "tiny x8"]
    assert [s.codebooks for s in codec_systems(tiny, kbps=[0.1, 1.2, 1.3, 99])] == [2, 8]
    two = codec_systems(tiny, depths=[2, 30])
    assert len(two) == 1
    assert (two[0].about.nominal_kbps, two[0].about.tokens_per_second, two[0].about.latency_ms) == (1.0, 100.0, 70.0)
    assert two[0].about.parameters > 0
    assert codec_systems(tiny)[1].identity == two[0].identity


def test_a_codec_and_a_command_are_measured(tiny, samples, tmp_path):
    clip = find_clips(samples / "speech.wav", {".wav"}, seconds=0.5)[0]
    (codec,), (command,) = codec_systems(tiny, [8]), command_systems("copy: cp {in} {wav} && cp {in} {out}")
    cache = Cache(tmp_path / "cache.sqlite")
    results = run_jobs([MeasureJob((codec,), (clip,)), MeasureJob((command,), (clip,))], cache)
    cache.close()
    facts = facts_of(codec, results, "cpu")
    assert facts["encode_realtime"] > 1
    assert facts["decode_realtime"] > 1
    assert 50 < facts["peak_mb"] < 2000  # torch and the codec, not the tests around them
    assert (facts["codec"], facts["measured_on"]) == ("tiny", "cpu")
    on_a_card = facts_of(codec, results, "cuda:1")
    assert (on_a_card["encode_realtime"], on_a_card["measured_on"]) == (None, None)
    copied = facts_of(command, results, "cpu")
    assert copied["realtime_factor"] > 1
    assert 1 < copied["peak_mb"] < 40


def test_figures_of_one_kind_of_device_are_not_taken_for_those_of_another(tiny, samples):
    clip = find_clips(samples / "speech.wav", {".wav"}, seconds=0.5)[0]
    systems = tuple(codec_systems(tiny, [2, 8]))
    keys = {device: MeasureJob(systems, (clip,), device).keys for device in ("cpu", "cuda", "cuda:0", "cuda:1")}
    assert keys["cuda"] == keys["cuda:0"] == keys["cuda:1"]
    assert len({*keys["cpu"], *keys["cuda"]}) == 4


def test_a_clip_that_cannot_be_read_and_what_a_command_says_keep_nothing_from_being_measured(samples, tmp_path):
    (tmp_path / "a.wav").write_bytes(b"no audio")
    clips = tuple(find_clips(tmp_path, {".wav"}) + find_clips(samples / "speech.wav", {".wav"}, seconds=0.5))
    (command,) = command_systems(r"loud: printf '\377\376' && cp {in} {wav}")
    (fails,) = command_systems("fails: false {in} {wav}")
    cache = Cache(tmp_path / "cache.sqlite")
    results = run_jobs([MeasureJob((command,), clips), MeasureJob((fails,), clips)], cache)
    cache.close()
    facts = facts_of(command, results, "cpu")
    assert facts["peak_mb"] > 1
    assert facts["measured_on"] == "cpu"
    assert facts_of(fails, results, "cpu")["measured_on"] is None


def test_the_peak_on_a_card_is_of_its_memory(tiny, monkeypatch):
    (codec,) = codec_systems(tiny, [8])
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: {"cuda:1": 3 * 2**20}[device])
    assert measurement._peak(codec, torch.zeros(10), 24000, "cuda:1") == 3.0
    assert measurement._peak(codec, torch.zeros(10), 24000, "cpu") > 50
