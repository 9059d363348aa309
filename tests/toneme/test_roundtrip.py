"""`codec roundtrip`: the audio of encode and decode, and figures that other ways of measuring agree with."""

import json

import pytest
import torch

import toneme
from toneme.cli.roundtrip import Ratio
from toneme.eval.metrics.si_sdr import si_sdr


def test_audio_equals_encode_then_decode(codec, wav, tiny, tmp_path):
    path = wav(seconds=12.3, rate=44100, channels=2)
    assert codec("roundtrip", path, "-c", tiny, "-o", tmp_path / "x.wav", "-n", 3).code == 0
    assert codec("encode", path, "-c", tiny, "-o", tmp_path / "y.tok", "-n", 3).code == 0
    assert codec("decode", tmp_path / "y.tok", "-c", tiny, "-o", tmp_path / "y.wav").code == 0
    made, expected = toneme.read_audio(tmp_path / "x.wav")[0], toneme.read_audio(tmp_path / "y.wav")[0]
    assert made.shape == expected.shape
    assert (made - expected).abs().max() <= 1 / 32768  # rounding to 16 bits


def test_figures(codec, wav, tiny, tmp_path):
    path = wav(seconds=3.0)
    done = json.loads(codec("roundtrip", path, "-c", tiny, "-o", tmp_path / "x.wav", "--bits", "float", "--json").out)
    assert codec("encode", path, "-c", tiny, "-o", tmp_path / "y.tok").code == 0
    assert done["bytes"] == (tmp_path / "y.tok").stat().st_size
    assert (done["seconds"], done["codebooks"], done["nominal_kbps"]) == (3.0, 8, 4.0)
    assert done["realtime_factor"] > 0
    target, estimate = toneme.read_audio(path)[0], toneme.read_audio(tmp_path / "x.wav")[0]
    assert done["si_sdr"] == pytest.approx(si_sdr(estimate.double(), target.double()).item(), abs=1e-3)


def test_nothing_is_written_without_output(codec, wav, tiny, tmp_path):
    path = wav()
    ran = codec("roundtrip", path, "-c", tiny)
    assert (ran.code, ran.err) == (0, "")
    assert "SI-SDR" in ran.out.decode()
    assert list(tmp_path.iterdir()) == [path]
    assert json.loads(codec("roundtrip", path, "-c", tiny, "--json").out)["output"] is None


def test_silence_has_no_ratio(codec, tiny, tmp_path):
    import numpy as np
    import soundfile

    soundfile.write(tmp_path / "a.wav", np.zeros(24000), 24000)
    assert json.loads(codec("roundtrip", tmp_path / "a.wav", "-c", tiny, "--json").out)["si_sdr"] is None


def test_folder(codec, wav, tiny, tmp_path):
    wav("in/a.wav", 0.2)
    wav("in/deep/b.wav", 0.2)
    answer = json.loads(codec("roundtrip", tmp_path / "in", "-c", tiny, "-o", tmp_path / "out", "--json").out)
    assert len(answer["files"]) == 2
    assert (tmp_path / "out" / "deep" / "b.wav").is_file()
    assert codec("roundtrip", tmp_path / "in", "-c", tiny).code == 0


@pytest.mark.parametrize("noise", [1e-3, 1.0])
def test_ratio_in_blocks_equals_the_formula(noise):
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(1, 10_000, generator=generator) + 0.3
    estimate = 0.5 * target + noise * torch.randn(1, 10_000, generator=generator) - 0.1
    ratio = Ratio()
    for block in target.split(3000, dim=1):
        ratio.take_target(block.numpy())
    for block in estimate.split(777, dim=1):
        ratio.take_estimate(block.numpy())
    assert ratio.decibels() == pytest.approx(si_sdr(estimate.double(), target.double()).item(), abs=1e-3)


def test_ratio_of_nothing():
    assert Ratio().decibels() is None
