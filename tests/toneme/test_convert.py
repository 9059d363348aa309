"""`codec convert`: an official checkpoint becomes a folder that every command takes."""

import pytest
import torch

import toneme
from toneme.codecs import toneme24k
from toneme.codecs.toneme24k import TonemeCodec, TonemeConfig

from .conftest import SMALL, leftovers


@pytest.fixture
def checkpoint(tmp_path, tiny, monkeypatch):
    """An "official" checkpoint of the small codec, and the table that reads it."""

    def build(weights):
        codec = TonemeCodec(TonemeConfig(**SMALL), "small")
        codec.load_state_dict(weights)
        return codec

    monkeypatch.setattr(toneme24k, "OFFICIAL", {"small_24khz": build}, raising=False)
    path = tmp_path / "official.th"
    torch.save({"state_dict": toneme.load(tiny).state_dict()}, path)
    return path


def test_folder_codes_as_the_checkpoint(codec, checkpoint, tiny, wav, tmp_path):
    ran = codec("convert", checkpoint, "--as", "small-24khz", "-o", tmp_path / "new" / "small")
    assert (ran.code, ran.err) == (0, "")
    assert sorted(path.name for path in (tmp_path / "new" / "small").iterdir()) == ["config.json", "model.safetensors"]
    made = toneme.load(tmp_path / "new" / "small")
    assert (made.name, made.weights_hash) == ("small", toneme.load(tiny).weights_hash)
    assert codec("roundtrip", wav(), "-c", tmp_path / "new" / "small").code == 0


def test_unknown_name(codec, checkpoint, tmp_path):
    ran = codec("convert", checkpoint, "--as", "smal_24khz", "-o", tmp_path / "x")
    assert ran.code == 1
    assert "did you mean small_24khz" in ran.sentence
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("content", [b"", b"text", b"\x80\x02cos\nsystem\n(S'true'\ntR."])
def test_foreign_and_hostile_checkpoints(codec, checkpoint, tmp_path, content):
    (tmp_path / "bad.th").write_bytes(content)
    ran = codec("convert", tmp_path / "bad.th", "--as", "small_24khz", "-o", tmp_path / "x")
    assert ran.code == 1
    assert "cannot be read as a checkpoint" in ran.sentence
    assert not (tmp_path / "x").exists()


def test_missing_checkpoint(codec, checkpoint, tmp_path):
    ran = codec("convert", tmp_path / "missing.th", "--as", "small_24khz", "-o", tmp_path / "x")
    assert ran.code == 1
    assert "no checkpoint at" in ran.sentence
    assert "OFFICIAL.md" in ran.sentence
    assert "OFFICIAL.md" in codec("info", "mimi").sentence
    assert b"OFFICIAL.md" in codec("convert", "--help").out


def test_a_codec_is_replaced_only_with_force(codec, checkpoint, other, tmp_path):
    toneme.load(other).save(tmp_path / "c")
    ran = codec("convert", checkpoint, "--as", "small_24khz", "-o", tmp_path / "c")
    assert ran.code == 1
    assert "holds a codec already" in ran.sentence
    assert toneme.load(tmp_path / "c").weights_hash == toneme.load(other).weights_hash
    assert codec("convert", checkpoint, "--as", "small_24khz", "-o", tmp_path / "c", "--force").code == 0
    assert toneme.load(tmp_path / "c").weights_hash != toneme.load(other).weights_hash


def test_a_file_is_no_folder(codec, checkpoint, tmp_path):
    (tmp_path / "file").write_text("precious")
    ran = codec("convert", checkpoint, "--as", "small_24khz", "-o", tmp_path / "file")
    assert ran.code == 1
    assert "is a file, and a codec is a folder" in ran.sentence
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_while_saving_leaves_nothing(codec, checkpoint, tmp_path, monkeypatch, error):
    def broken(*args):
        raise error

    monkeypatch.setattr("toneme.codecs.checkpoint.save_file", broken)
    ran = codec("convert", checkpoint, "--as", "small_24khz", "-o", tmp_path / "x")
    assert ran.code == (130 if isinstance(error, KeyboardInterrupt) else 1)
    assert ran.sentence
    assert not (tmp_path / "x").exists()
    assert not leftovers(tmp_path)
