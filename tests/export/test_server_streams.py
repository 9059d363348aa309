"""How codes lie in the messages of a stream."""

import numpy as np
import pytest

import toneme
from toneme.export.manifest import Manifest, Side, Stream
from toneme.export.server_limits import Limits
from toneme.export.server_streams import Layout, chunk_asked

CHUNKS, STEPS = Side("decoder.onnx", "chunks", 512, chunk=47, context=5), Side("decoder.onnx", "steps", 480)


def manifest(*streams: tuple[int, int, int]) -> Manifest:
    """A codec with streams of (hop, codebooks, codebook size)."""
    made = tuple(Stream(hop, (size,) * count, ("acoustic",) * count) for hop, count, size in streams)
    return Manifest("x", "x", "", "", 24000, 1, made, None, Side("decoder.onnx", "steps", max(hop for hop, _, _ in streams)))


def test_one_stream_is_an_array_of_frames():
    layout = Layout(manifest((480, 4, 1024)), 3)
    codes = np.arange(3 * 5).reshape(1, 3, 5)
    data = layout.to_bytes((codes,))
    np.testing.assert_array_equal(np.frombuffer(data, "<u2").reshape(-1, 3), codes[0].T)
    np.testing.assert_array_equal(layout.from_bytes(data)[0], codes)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_streams_of_several_rates_there_and_back(depth):
    layout = Layout(manifest((2048, 1, 4096), (1024, 1, 4096), (512, 1, 4096)), depth)
    streams = tuple(
        np.random.default_rng(ratio).integers(0, 4096, (1, int(n < depth), 6 * ratio)) for n, ratio in enumerate((1, 2, 4))
    )
    data = layout.to_bytes(streams)
    assert len(data) == 6 * 2 * sum((1, 2, 4)[:depth])
    for back, codes in zip(layout.from_bytes(data), streams, strict=True):
        np.testing.assert_array_equal(back, codes)
    halves = [layout.from_bytes(data[: len(data) // 2]), layout.from_bytes(data[len(data) // 2 :])]
    for (first, second), codes in zip(zip(*halves, strict=True), streams, strict=True):
        np.testing.assert_array_equal(np.concatenate([first, second], axis=-1), codes)


def test_large_codebooks_take_four_bytes_and_parts_of_units_are_refused():
    layout = Layout(manifest((320, 1, 1 << 17)), 1)
    assert layout.from_bytes(layout.to_bytes((np.array([[[100_000]]]),)))[0].tolist() == [[[100_000]]]
    assert layout.to_bytes((np.zeros((1, 1, 0), np.int64),)) == b""
    with pytest.raises(toneme.ShapeError, match="whole units of 4 bytes; got 3"):
        layout.from_bytes(b"abc")


@pytest.mark.parametrize("asked", ["0.1", "0.5", "1", "1e0"])
def test_chunks_are_as_short_as_a_stream_asks(asked):
    assert chunk_asked({"chunk_seconds": asked}, CHUNKS, 24000, Limits()) == float(asked)


def test_chunks_are_the_servers_where_nothing_is_asked():
    assert chunk_asked({}, CHUNKS, 24000, Limits()) is None
    assert chunk_asked({}, CHUNKS, 24000, Limits(chunk=3.0)) == 3.0


@pytest.mark.parametrize(
    ("asked", "chunk", "words"),
    [
        ("1.1", None, "chunk_seconds must be from 0.107 to 1; got 1.1"),
        ("1e308", None, "from 0.107 to 1; got 1e308"),
        ("0.07", None, "from 0.107 to 1; got 0.07"),
        ("2.1", 2.0, "from 0.107 to 2.01; got 2.1"),
        ("0.1", 0.05, "from 0.0427 to 0.0427; got 0.1"),
    ],
)
def test_chunks_beyond_the_limits_are_refused(asked, chunk, words):
    with pytest.raises(toneme.ShapeError, match=words):
        chunk_asked({"chunk_seconds": asked}, CHUNKS, 24000, Limits(chunk=chunk))


@pytest.mark.parametrize("asked", ["", "half", "nan", "-1", "0", "1e999"])
def test_chunks_that_are_no_length_are_refused(asked):
    for side in (CHUNKS, STEPS):
        with pytest.raises(toneme.ShapeError, match=f"a number of seconds above 0, such as 0.5; got '{asked}'"):
            chunk_asked({"chunk_seconds": asked}, side, 24000, Limits())


def test_what_goes_frame_by_frame_does_so_whatever_is_asked():
    assert chunk_asked({"chunk_seconds": "1e308"}, STEPS, 24000, Limits()) is not None
    assert Limits(chunk=1.0).chunks(STEPS, 24000) == (0, 0)
