"""How codes lie in the messages of a stream."""

import numpy as np
import pytest

import toneme
from toneme.export.manifest import Manifest, Side, Stream
from toneme.export.server_streams import Layout


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
