"""An exported codec's folder: its files, what it says of itself, and that nothing is left of a failed export."""

import os

import numpy as np
import pytest

import toneme
from toneme.codecs.encodec import CONFIGS, EncodecCodec
from toneme.export import StreamingCodec, export_codec, folder


def test_holds_the_four_files(small_folder, small):
    assert sorted(path.name for path in small_folder.iterdir()) == ["codec.json", "decoder.onnx", "encoder.onnx", "golden.npz"]
    manifest = StreamingCodec(small_folder).manifest
    assert (manifest.codec, manifest.weights_hash) == ("small", small.weights_hash)
    assert manifest.streams[0].codebook_sizes == (64,) * 4


def test_golden_audio_gives_golden_codes(small_folder):
    with np.load(small_folder / "golden.npz") as golden:
        codec = StreamingCodec(small_folder)
        assert (codec.encode(golden["audio"]) == golden["codes.0"]).mean() > 0.99
        decoded = codec.decode(golden["codes.0"], golden["audio"].shape[-1])
        np.testing.assert_allclose(decoded, golden["decoded"], atol=1e-5, rtol=0)


def test_fewer_codebooks_are_a_variant(small, small_folder, tmp_path):
    found = export_codec(small, tmp_path / "two", codebooks=2)
    assert found.equal > 0.99
    audio = np.load(small_folder / "golden.npz")["audio"]
    codes = StreamingCodec(tmp_path / "two").encode(audio)
    np.testing.assert_array_equal(codes, StreamingCodec(small_folder).encode(audio)[:, :2])


def test_a_family_without_graphs_is_refused(tmp_path):
    codec = EncodecCodec(CONFIGS["encodec_48khz"], "encodec_48khz")
    with pytest.raises(toneme.CheckpointError, match="only the causal EnCodec of 24 kHz can be exported"):
        export_codec(codec, tmp_path / "x")
    assert not any(tmp_path.iterdir())


def test_a_graph_that_does_something_else_is_not_kept(small, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "check", lambda path: folder.Check(0.5, 1.0, 0.0))
    with pytest.raises(toneme.CheckpointError, match="do not do what the codec does"):
        export_codec(small, tmp_path / "x")
    assert not any(tmp_path.iterdir())


def test_a_name_that_onnx_runtime_cannot_open_is_refused_before_the_work(small, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "_write", lambda *args: pytest.fail("the work has begun"))
    with pytest.raises(toneme.CheckpointError, match="no name in UTF-8, and ONNX Runtime opens no other: name another"):
        export_codec(small, tmp_path / os.fsdecode(b"caf\xe9"))
    assert not any(tmp_path.iterdir())
