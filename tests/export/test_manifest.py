"""`codec.json`: what is written is read, and nothing else."""

import json

import pytest

import toneme
from toneme.export.manifest import FILE, FORMAT, Manifest, Side, State, Stream, read_manifest


@pytest.fixture
def manifest() -> Manifest:
    encoder = Side(
        "encoder.onnx", "steps", 480, skip=1, states=(State("a.b", ("batch", 3), ring=1), State("n", ("batch",), "int64"))
    )
    decoder = Side("decoder.onnx", "chunks", 480, chunk=25, context=3)
    streams = (Stream(480, (1024, 1024), ("semantic", "acoustic")), Stream(240, (64,), ("acoustic",)))
    return Manifest("some", "toneme", "0123", "MIT", 24000, 1, streams, encoder, decoder)


def test_comes_back(manifest, tmp_path):
    manifest.write(tmp_path)
    assert read_manifest(tmp_path) == manifest
    content = json.loads((tmp_path / FILE).read_text())
    assert content["codebooks"] == 3
    assert [stream["frame_rate"] for stream in content["streams"]] == [50, 100]


def test_chunks_are_as_long_as_asked_for_and_steps_what_they_are(manifest):
    steps, chunks = manifest.encoder, manifest.decoder
    assert manifest.latencies() == (480, 28 * 480)
    assert manifest.latencies(0.1) == (480, 8 * 480)
    assert (chunks.chunk_of(1e-9, 24000), chunks.chunk_of(None, 24000), steps.chunk_of(0.1, 24000)) == (1, 25, 0)
    for side in (steps, chunks):
        with pytest.raises(toneme.ShapeError, match="chunk_seconds must be a number of seconds above 0"):
            side.chunk_of(0.0, 24000)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": FORMAT + 1}, "install a newer toneme"),
        ({"streams": 3}, "export it again"),
        ({"encoder": {"mode": "steps"}}, "export it again"),
        ({"encoder": {"mode": "leaps", "file": "x", "unit": 1, "states": []}}, "leaps"),
    ],
)
def test_others_are_refused(manifest, tmp_path, change, words):
    (tmp_path / FILE).write_text(json.dumps({**manifest.to_dict(), **change}))
    with pytest.raises(toneme.CheckpointError, match=words):
        read_manifest(tmp_path)


def test_the_format_before_rings_is_read(manifest, tmp_path):
    content = manifest.to_dict()
    for state in content["encoder"]["states"]:
        del state["ring"]
    (tmp_path / FILE).write_text(json.dumps({**content, "format": 1}))
    assert [state.ring for state in read_manifest(tmp_path).encoder.states] == [None, None]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_what_an_editor_wrote_is_read(manifest, tmp_path, encoding):
    content = {**manifest.to_dict(), "licence": "\u00a9 M\u00fcller"}
    (tmp_path / FILE).write_text(json.dumps(content, ensure_ascii=False), encoding=encoding)
    assert read_manifest(tmp_path).licence == "\u00a9 M\u00fcller"


def test_what_is_not_json_is_refused(tmp_path):
    (tmp_path / FILE).write_text("{")
    with pytest.raises(toneme.CheckpointError, match="export it again"):
        read_manifest(tmp_path)
