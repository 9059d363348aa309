"""`codec decode`: token files of every format to audio of exactly the right length."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import toneme
from toneme.codecs.dac import CONFIGS, DacConfig, convert_dac
from toneme.codecs.layers.dac_blocks import DacBlocksConfig

from .conftest import leftovers


def expected(folder, path):
    return toneme.load(folder).decode(toneme.read_tokens(path))[0]


def test_file_equals_the_library(codec, wav, tiny, tmp_path):
    assert codec("encode", wav(seconds=12.3456, rate=44100), "-c", tiny, "-o", tmp_path / "x.tok").code == 0
    ran = codec("decode", tmp_path / "x.tok", "-c", tiny, "--bits", "float")
    assert (ran.code, ran.err) == (0, "")
    made, rate = toneme.read_audio(tmp_path / "x.wav")
    wave = expected(tiny, tmp_path / "x.tok")
    assert rate == 24000
    assert made.shape == wave.shape
    assert (made - wave).abs().max() < 1e-5  # float32 sums in another order, far below 16 bits


@pytest.mark.parametrize(("bits", "subtype"), [("16", "PCM_16"), ("24", "PCM_24"), ("float", "FLOAT")])
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_bits(codec, tok, tiny, tmp_path, bits, subtype, suffix):
    ran = codec("decode", tok, "-c", tiny, "-o", tmp_path / f"x.{suffix}", "--bits", bits)
    if (suffix, bits) == ("flac", "float"):
        assert ran.code == 1
        assert ran.sentence
        return
    assert ran.code == 0
    assert soundfile.info(tmp_path / f"x.{suffix}").subtype == subtype
    assert soundfile.info(tmp_path / f"x.{suffix}").frames == 24000


def test_unknown_bits_are_a_usage_error(codec, tok, tiny):
    ran = codec("decode", tok, "-c", tiny, "--bits", "12")
    assert ran.code == 2
    assert "16, 24, float" in ran.sentence


def test_a_codec_that_does_not_sample_refuses_to_be_told_how(codec, tok, tiny, tmp_path):
    ran = codec("decode", tok, "-c", tiny, "-o", tmp_path / "x.wav", "--steps", "5", "--seed", "1")
    assert ran.code == 1
    assert "tiny cannot be told seed, steps when it decodes: its codes alone say how it sounds" in ran.sentence
    assert not (tmp_path / "x.wav").exists()
    assert codec("decode", tok, "-c", tiny, "--steps", "0").code == 2


def test_unknown_suffix(codec, tok, tiny, tmp_path):
    ran = codec("decode", tok, "-c", tiny, "-o", tmp_path / "x.xyz")
    assert ran.code == 1
    assert ran.sentence
    assert not (tmp_path / "x.xyz").exists()


def test_stdin_to_stdout_is_a_right_wav(codec, tok, tiny, tmp_path):
    ran = codec("decode", "-", "-c", tiny, stdin=tok.read_bytes())
    assert (ran.code, ran.err) == (0, "")
    (tmp_path / "x.wav").write_bytes(ran.out)
    assert codec("decode", tok, "-c", tiny, "-o", tmp_path / "y.wav").code == 0
    assert torch.equal(toneme.read_audio(tmp_path / "x.wav")[0], toneme.read_audio(tmp_path / "y.wav")[0])


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_other_formats_of_tokens(codec, tok, tiny, tmp_path, suffix):
    toneme.read_tokens(tok).save(tmp_path / f"x.{suffix}")
    assert codec("decode", tmp_path / f"x.{suffix}", "-c", tiny).code == 0
    assert codec("decode", tok, "-c", tiny, "-o", tmp_path / "y.wav").code == 0
    assert torch.equal(toneme.read_audio(tmp_path / "x.wav")[0], toneme.read_audio(tmp_path / "y.wav")[0])


def test_batch_of_items_in_one_file_is_refused(codec, tiny, tmp_path):
    toneme.load(tiny).encode(torch.zeros(2, 1, 4800)).save(tmp_path / "x.npz")
    ran = codec("decode", tmp_path / "x.npz", "-c", tiny)
    assert ran.code == 1
    assert "holds 2 items" in ran.sentence


def test_the_codec_is_found_by_the_name_in_the_file(codec, tok, tiny, tmp_path, monkeypatch):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "tiny").symlink_to(tiny)
    monkeypatch.setattr("toneme.codecs.registry.WEIGHTS", tmp_path / "weights")
    assert codec("decode", tok, "-o", tmp_path / "x.wav").code == 0


def test_a_file_cannot_make_us_load_a_codec_from_anywhere(codec, tiny, tmp_path, monkeypatch):
    from dataclasses import replace

    tokens = toneme.load(tiny).encode(torch.zeros(1, 1, 4800))
    for name in (str(tiny), "hf://org/name", "../tiny"):
        replace(tokens, codec=name).save(tmp_path / "x.tok")
        ran = codec("decode", tmp_path / "x.tok")
        assert ran.code == 1
        assert "which is not packaged: name its folder or hf:// name with --codec" in ran.sentence


def test_other_weights_are_refused_unless_any_will_do(codec, tok, other, tmp_path):
    ran = codec("decode", tok, "-c", other, "-o", tmp_path / "x.wav")
    assert ran.code == 1
    assert "--any-weights" in ran.sentence
    assert not (tmp_path / "x.wav").exists()
    assert codec("decode", tok, "-c", other, "-o", tmp_path / "x.wav", "--any-weights").code == 0
    assert soundfile.info(tmp_path / "x.wav").frames == 24000


def test_folder_is_mirrored_and_loads_the_codec_once(codec, wav, tiny, tmp_path, monkeypatch):
    wav("in/a.wav", 0.2)
    wav("in/deep/b.wav", 0.3)
    assert codec("encode", tmp_path / "in", "-c", tiny, "-o", tmp_path / "t").code == 0
    loads, real = [], toneme.load
    monkeypatch.setattr("toneme.codecs.registry.load", lambda *args: loads.append(args) or real(*args))
    assert codec("decode", tmp_path / "t", "-c", tiny, "-o", tmp_path / "out", "--backend", "torch").code == 0
    assert [soundfile.info(tmp_path / "out" / name).frames for name in ("a.wav", "deep/b.wav")] == [4800, 7200]
    assert len(loads) == 1


def test_the_recording_beside_its_tokens_is_safe(codec, wav, tiny, tmp_path):
    path = wav()
    assert codec("encode", path, "-c", tiny).code == 0
    before = path.read_bytes()
    ran = codec("decode", tmp_path / "a.tok", "-c", tiny)
    assert ran.code == 1
    assert "a.wav exists" in ran.sentence
    assert path.read_bytes() == before


def test_json(codec, tok, tiny, tmp_path):
    done = json.loads(codec("decode", tok, "-c", tiny, "-o", tmp_path / "x.wav", "--json").out)
    assert (done["samples"], done["sample_rate"], done["channels"], done["seconds"]) == (24000, 24000, 1, 1.0)
    assert done["codec"] == "tiny"


def test_salvage_decodes_up_to_the_damage(codec, wav, tiny, tmp_path):
    assert codec("encode", wav(seconds=30, rate=24000), "-c", tiny, "-o", tmp_path / "x.tok").code == 0
    data = (tmp_path / "x.tok").read_bytes()
    (tmp_path / "cut.tok").write_bytes(data[: len(data) * 2 // 3])
    ran = codec("decode", tmp_path / "cut.tok", "-c", tiny, "-o", tmp_path / "y.wav")
    assert ran.code == 1
    assert "cut.tok" in ran.sentence
    assert not (tmp_path / "y.wav").exists()
    ran = codec("decode", tmp_path / "cut.tok", "-c", tiny, "-o", tmp_path / "y.wav", "--salvage")
    assert ran.code == 0
    assert ran.sentence.startswith("codec: warning: ")
    part, whole = toneme.read_audio(tmp_path / "y.wav")[0], expected(tiny, tmp_path / "x.tok")
    assert 24000 < part.shape[1] < whole.shape[1]
    inner = part.shape[1] - 4800  # the last frames lack what would have followed
    assert (part[:, :inner] - whole[:, :inner]).abs().max() < 1e-4
    assert not leftovers(tmp_path)


def test_dac_files_of_several_channels_are_decoded_by_the_codec_that_is_named(codec, tmp_path):
    golden = np.load(Path(__file__).parents[1] / "goldens" / "dacfile" / "small.npz")
    weights = {name.removeprefix("weights/"): torch.from_numpy(golden[name]).float() for name in golden if "weights/" in name}
    config = DacConfig(16000, DacBlocksConfig(2, (2, 4, 5, 8), 32, 32, keeps_length=False), 2, 1024, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CONFIGS, "small", config)
        convert_dac(weights, "small").save(tmp_path / "small")
    about = {"original_length": 20000, "sample_rate": 16000, "chunk_length": 34, "channels": 2, "padding": False}
    about |= {"input_db": golden["chunks/input_db"], "dac_version": "1.0.0"}
    with (tmp_path / "x.dac").open("wb") as file:
        content = {"codes": golden["chunks/codes"].repeat(2, 0), "metadata": about}
        np.save(file, content, allow_pickle=True)  # pyright: ignore[reportArgumentType]
    ran = codec("decode", tmp_path / "x.dac", "-c", tmp_path / "small", "--bits", "float")
    assert (ran.code, ran.err) == (0, "")
    made, rate = soundfile.read(tmp_path / "x.wav")
    assert (made.shape, rate) == ((20000, 2), 16000)
    wanted = golden["chunks/audio"][0, 0].astype(np.float64)
    assert np.corrcoef(made[:, 1], wanted)[0, 1] > 0.99999  # the level is that of both channels together
    figures = json.loads(codec("info", tmp_path / "x.dac", "--json").out)
    assert (figures["samples"], figures["metadata"]["dac_channels"]) == (20000, "2")
