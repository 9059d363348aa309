"""Large pages: memory taken inside of the `with` is moved to them, other memory is left, and a codec works as without."""

import contextlib
import ctypes
import mmap
import sys
from dataclasses import replace

import numpy as np
import pytest

from toneme.export import huge_pages, runtime
from toneme.export.golden import made_audio
from toneme.export.huge_pages import LARGE, large_pages, read_large
from toneme.export.runtime import StreamingCodec
from toneme.export.storage import weights_in
from toneme.kernels.errors import CheckpointError


def taken(size: int) -> mmap.mmap:
    """Return fresh memory that is in use."""
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.write(b"\1" * size)
    return memory


def start_of(memory: mmap.mmap) -> int:
    """Return the address of memory."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


@pytest.fixture
def asked(monkeypatch) -> list[int]:
    """Return the addresses of large pages that are asked for; whether the system gives them is its own affair."""
    pages, enlarge = [], huge_pages._enlarge
    monkeypatch.setattr(huge_pages, "_enlarge", lambda libc, page: (pages.append(page), enlarge(libc, page)))
    return pages


@pytest.mark.skipif(sys.platform != "linux", reason="large pages are Linux's")
def test_pages_are_asked_for_where_memory_was_taken_inside_and_no_more_than_allowed(asked):
    older = taken(8 * LARGE)
    with large_pages(64 * LARGE):
        memory = taken(8 * LARGE)
    start, before = start_of(memory), start_of(older)
    assert len([page for page in asked if start <= page < start + 8 * LARGE]) >= 6
    assert not [page for page in asked if before <= page < before + 7 * LARGE]
    assert memory[:] == older[:] == b"\1" * (8 * LARGE)
    asked.clear()
    with large_pages(4 * LARGE):
        more = taken(8 * LARGE)
    assert len(asked) == 4
    assert more[:] == b"\1" * (8 * LARGE)


@pytest.mark.skipif(sys.platform != "linux", reason="large pages are Linux's")
def test_nothing_is_asked_for_where_nothing_is_allowed_or_in_use(asked):
    with large_pages(0):
        other = taken(4 * LARGE)
    with large_pages(64 * LARGE):
        unused = mmap.mmap(-1, 8 * LARGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    spans = [(start_of(other), 4 * LARGE), (start_of(unused), 8 * LARGE)]
    assert not [page for page in asked for start, size in spans if start <= page < start + size]


@pytest.fixture
def advised(monkeypatch) -> list[int]:
    """Return how many bytes large pages are asked for at once, in order."""
    sizes, advise = [], huge_pages._advise
    monkeypatch.setattr(huge_pages, "_advise", lambda m, a, b: (sizes.append(b - a), advise(m, a, b)))
    return sizes


@pytest.mark.parametrize("size", [0, 1, LARGE, 3 * LARGE + 5])
def test_a_file_is_read_into_them(size, tmp_path, monkeypatch, advised):
    monkeypatch.setattr(huge_pages, "PIECE", LARGE)
    path, content = tmp_path / "file", np.random.default_rng(0).integers(0, 256, size, np.uint8).tobytes()
    path.write_bytes(content)
    with open(path, "rb") as file:
        memory = read_large(file, size)
    assert bytes(memory) == content
    assert advised == [LARGE] * (size // LARGE) + [size % LARGE] * (size % LARGE > 0) + [size]
    if sys.platform == "linux" and size:
        assert ctypes.addressof(ctypes.c_char.from_buffer(memory)) % LARGE == 0


def test_they_are_not_waited_for(tmp_path, monkeypatch, advised):
    monkeypatch.setattr(huge_pages, "PATIENCE", 0.0)
    (tmp_path / "file").write_bytes(b"\1" * (4 * LARGE))
    with open(tmp_path / "file", "rb") as file:
        assert bytes(read_large(file, 4 * LARGE)) == b"\1" * (4 * LARGE)
    assert advised == [4 * LARGE]  # of all of it once it is there


def test_what_a_file_does_not_have_is_not_made_up(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    with open(tmp_path / "file", "rb") as file:
        assert bytes(read_large(file, 10)) == b"abc"


def test_elsewhere_it_is_read_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    (tmp_path / "file").write_bytes(b"\2" * (2 * LARGE))
    with open(tmp_path / "file", "rb") as file:
        assert bytes(read_large(file, 2 * LARGE)) == b"\2" * (2 * LARGE)


def test_nothing_happens_elsewhere_or_where_the_list_of_memory_is_hidden(monkeypatch):
    monkeypatch.setattr(huge_pages, "MAPS", "/proc/absent")
    with large_pages(LARGE):
        pass
    monkeypatch.setattr(sys, "platform", "darwin")
    with large_pages(LARGE):
        pass


def test_a_codec_codes_the_same(shipped_folder):
    pcm = made_audio(24000, 1, 1)
    large, small = (StreamingCodec(shipped_folder, large_pages=wanted) for wanted in (True, False))
    assert np.array_equal(large.encode(pcm), small.encode(pcm))


@pytest.mark.parametrize("wanted", [True, False])
def test_weights_beside_the_graphs_are_read_into_them(small_folder, apart, monkeypatch, wanted):
    read: list[str] = []
    monkeypatch.setattr(runtime, "weights_in", lambda path: (read.append(path.name), weights_in(path))[1])
    pcm, codec = made_audio(24000, 1, 1), StreamingCodec(apart, large_pages=wanted)
    codes, audio = codec.encode(pcm), codec.decode(codec.encode(pcm))
    assert read == (["encoder.data", "decoder.data"] if wanted else [])
    expected = StreamingCodec(small_folder)
    np.testing.assert_array_equal(codes, expected.encode(pcm))
    np.testing.assert_array_equal(audio, expected.decode(expected.encode(pcm)))


def test_damaged_weights_are_refused_in_one_sentence(apart):
    path = apart / "decoder.data"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"decoder.onnx cannot be loaded .* export the codec again"):
        StreamingCodec(apart).session("decoder.onnx")


def test_codecs_in_chunks_go_without(small_folder, monkeypatch):
    asked: list[int] = []
    monkeypatch.setattr(runtime, "large_pages", lambda most: contextlib.nullcontext(asked.append(most)))
    for mode in ("steps", "chunks"):
        codec = StreamingCodec(small_folder)
        codec.manifest = replace(codec.manifest, decoder=replace(codec.manifest.decoder, mode=mode))
        codec.session("decoder.onnx")
    assert asked[0] > 0 == asked[1]
