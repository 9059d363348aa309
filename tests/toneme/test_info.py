"""`codec info` and `codec list`: the same figures for people and programs."""

import json

import pytest
import torch

import toneme
from toneme.kernels import native


def answer(ran):
    assert (ran.code, ran.err) == (0, "")
    return json.loads(ran.out)


def test_tokens(codec, tok):
    about = answer(codec("info", tok, "--json"))
    assert about["kind"] == "tokens"
    assert (about["codec"], about["codebooks"], about["samples"], about["seconds"]) == ("tiny", 8, 24000, 1.0)
    assert about["bytes"] == tok.stat().st_size
    assert about["kbps"] == pytest.approx(about["bytes"] * 8 / 1000)
    assert about["codebook_sizes"] == [[1024] * 8]
    assert "damage" not in about


def test_verify_reads_every_chunk(codec, tok):
    about = answer(codec("info", tok, "--verify", "--json"))
    assert about["damage"] is None
    assert about["frames"] == [50]
    assert about["chunks"] >= 1


def test_verify_finds_damage(codec, tok):
    data = bytearray(tok.read_bytes())
    data[len(data) // 2] ^= 1
    tok.write_bytes(data)
    assert codec("info", tok).code == 0
    ran = codec("info", tok, "--verify", "--json")
    assert ran.code == 1
    assert "byte" in ran.sentence
    assert json.loads(ran.out)["damage"]


def test_metadata_and_other_formats(codec, tiny, tmp_path):
    tokens = toneme.load(tiny).encode(torch.zeros(1, 1, 4800)).with_metadata(speaker="Ada")
    tokens.save(tmp_path / "x.tok")
    tokens.save(tmp_path / "x.npz")
    for name, form in (("x.tok", ".tok"), ("x.npz", ".npz")):
        about = answer(codec("info", tmp_path / name, "--json"))
        assert about["metadata"] == {"speaker": "Ada"}
        assert (about["format"], about["samples"]) == (form, 4800)


def test_what_streams_wait_for(codec, tmp_path):
    from toneme.codecs.dac import DacCodec, DacConfig
    from toneme.codecs.encodec import EncodecCodec, EncodecConfig
    from toneme.codecs.layers.dac_blocks import DacBlocksConfig
    from toneme.codecs.layers.seanet import SEANetConfig

    chunked = DacCodec(DacConfig(8000, DacBlocksConfig(4, (2, 4), 16, 16), 3, 32, 4), "small-dac")
    chunked.save(tmp_path / "dac")
    for seconds, chosen in ((10.0, []), (0.5, ["--chunk-seconds", 0.5])):
        about = answer(codec("info", tmp_path / "dac", *chosen, "--json"))["stream"]
        waits = seconds + chunked.spec.receptive_field / 8000  # whole frames of 8 samples
        assert about == {"encoder_seconds": pytest.approx(waits), "decoder_seconds": pytest.approx(waits)}
    assert answer(codec("info", "default", "--chunk-seconds", 5, "--json"))["stream"] == {
        "encoder_seconds": 0.04, "decoder_seconds": 0.05,
    }  # fmt: skip
    seanet = SEANetConfig(2, filters=4, dimension=16, ratios=(4, 2), causal=False, norm="time_group_norm", lstm=1)
    EncodecCodec(EncodecConfig(8000, seanet, 4, 32, segment=1600, segment_stride=1584), "fixed").save(tmp_path / "fixed")
    ran = codec("info", tmp_path / "fixed", "--chunk-seconds", 0.05)
    assert (ran.code, ran.sentence) == (
        1, "codec: fixed works on 0.2 s of audio at once, as its weights were trained: leave chunk_seconds out"
    )  # fmt: skip


def test_tokens_by_content_whatever_the_suffix(codec, tok, tmp_path):
    tok.rename(tmp_path / "noname")
    assert answer(codec("info", tmp_path / "noname", "--json"))["kind"] == "tokens"


def test_audio(codec, wav):
    about = answer(codec("info", wav(seconds=0.5, rate=44100, channels=2), "--json"))
    assert about["kind"] == "audio"
    assert (about["sample_rate"], about["channels"], about["samples"], about["seconds"]) == (44100, 2, 22050, 0.5)


def test_codec_folder(codec, tiny):
    about = answer(codec("info", tiny, "--json"))
    assert (about["kind"], about["name"], about["family"], about["licence"]) == ("codec", "tiny", "toneme", "Apache-2.0")
    assert about["spec"]["kbps"] == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0]
    assert about["spec"]["frame_rate"] == 50


def test_a_codec_tells_what_computes_on_the_cpu(codec, tiny, monkeypatch):
    assert answer(codec("info", tiny, "--json"))["kernels"] == ("C" if native.library() else "PyTorch")
    monkeypatch.setattr(native, "library", lambda: None)
    assert answer(codec("info", tiny, "--json"))["kernels"] == "PyTorch"


def test_lines_for_people(codec, tok, tiny):
    lines = codec("info", tok, tiny).out.decode().split("\n")
    assert "kind: tokens" in lines
    assert "kind: codec" in lines
    assert "seconds: 1" in lines
    assert "licence: Apache-2.0" in lines


def test_several_subjects_are_a_list(codec, tok, wav, tiny):
    assert [about["kind"] for about in answer(codec("info", tok, wav(), tiny, "--json"))] == ["tokens", "audio", "codec"]


@pytest.mark.parametrize(
    ("name", "words"), [("missing.tok", "cannot be read"), ("missing.wav", "cannot be read"), ("missing", "no codec or folder")]
)
def test_what_is_not_there(codec, tmp_path, name, words):
    ran = codec("info", tmp_path / name)
    assert ran.code == 1
    assert words in ran.sentence


def test_list(codec, tiny, tmp_path, monkeypatch):
    (tmp_path / "toneme-24k").symlink_to(tiny)
    monkeypatch.setattr("toneme.codecs.registry.WEIGHTS", tmp_path)
    (about,) = answer(codec("list", "--json"))["codecs"]
    assert about["aliases"] == ["default"]
    assert about["spec"]["sample_rate"] == 24000
    text = codec("list").out.decode()
    assert "(default): 24000 Hz, 1 channel, 50 frames/s, 8 codebooks, 0.5 to 4 kbps, causal" in text
    assert "encodec_24khz" in text


def test_list_without_packaged_codecs(codec, tmp_path, monkeypatch):
    monkeypatch.setattr("toneme.codecs.registry.WEIGHTS", tmp_path)
    assert "no codec is packaged here" in codec("list").out.decode()


def test_a_licence_that_nobody_stated_is_unknown_and_not_none(codec, tmp_path):
    from toneme.codecs.encodec import EncodecCodec, EncodecConfig
    from toneme.codecs.layers.seanet import SEANetConfig

    EncodecCodec(EncodecConfig(seanet=SEANetConfig(dimension=8, filters=4, lstm=1), codebooks=4), "small").save(
        tmp_path / "small"
    )
    assert b"\nlicence: unknown\n" in codec("info", tmp_path / "small").out
    assert answer(codec("info", tmp_path / "small", "--json"))["licence"] == ""
