"""WAV headers and PCM bytes against libsndfile."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from toneme.codecs.audio_wav import PcmFormat, from_bytes, is_wav, make_header, quantise, read_header, to_bytes
from toneme.codecs.errors import AudioError

SUBTYPES = {"PCM_U8": "u8", "PCM_16": "s16le", "PCM_24": "s24le", "PCM_32": "s32le", "FLOAT": "f32le", "DOUBLE": "f64le"}


def noise(n: int, channels: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (n, channels))


@pytest.mark.parametrize("form", ["WAV", "WAVEX", "RF64"])
@pytest.mark.parametrize("subtype", SUBTYPES)
def test_header_and_samples_are_read_as_libsndfile_reads_them(tmp_path: Path, form: str, subtype: str) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(101, 3), 44_100, subtype=subtype, format=form)
    data = path.read_bytes()
    assert is_wav(data[:12])
    header = read_header(io.BytesIO(data))
    assert header.pcm == PcmFormat(44_100, 3, SUBTYPES[subtype])
    assert header.data_bytes == 101 * header.pcm.frame_bytes
    body = data[header.data_start : header.data_start + header.data_bytes]
    np.testing.assert_array_equal(from_bytes(body, header.pcm), soundfile.read(path, dtype="float32", always_2d=True)[0])


@pytest.mark.parametrize(("subtype", "encoding"), [("PCM_16", "s16le"), ("PCM_24", "s24le"), ("FLOAT", "f32le")])
@pytest.mark.parametrize(("n", "channels"), [(0, 1), (1, 1), (101, 1), (100, 11)])
def test_what_is_written_libsndfile_reads(tmp_path: Path, subtype: str, encoding: str, n: int, channels: int) -> None:
    path, frames = tmp_path / "a.wav", noise(n, channels).astype(np.float32)
    values = frames if encoding == "f32le" else quantise(frames, int(encoding[1:3]))
    path.write_bytes(make_header(PcmFormat(24_000, channels, encoding), n) + to_bytes(values, encoding))
    info = soundfile.info(path)
    assert (info.frames, info.channels, info.samplerate, info.subtype) == (n, channels, 24_000, subtype)
    half_step = {"PCM_16": 2**-16, "PCM_24": 2**-24, "FLOAT": 0}[subtype]
    got = soundfile.read(path, dtype="float32", always_2d=True)[0]
    # One step instead of half at the very top, where +1 has no integer.
    np.testing.assert_allclose(got, frames, rtol=0, atol=half_step * (1 + (frames.max(initial=0) > 1 - 2 * half_step)))


def test_integers_survive_exactly() -> None:
    """Every 16-bit value, and the ends of 24 bits, come back as they were."""
    pcm = PcmFormat(24_000, 1, "s16le")
    all_values = np.arange(-(2**15), 2**15).astype("<i2").tobytes()
    assert to_bytes(quantise(from_bytes(all_values, pcm), 16), "s16le") == all_values
    ends = bytes.fromhex("000080 010080 ffffff 000000 010000 feff7f ffff7f")
    assert to_bytes(quantise(from_bytes(ends, PcmFormat(24_000, 1, "s24le")), 24), "s24le") == ends


def test_rounding_is_to_the_nearest_and_clips() -> None:
    values = np.float32([[0.49], [0.51], [-0.51], [32766.6], [40000], [-32768], [-40000]]) / np.float32(32768)
    assert quantise(values, 16).ravel().tolist() == [0, 1, -1, 32767, 32767, -32768, -32768]


@pytest.mark.parametrize("claimed", [0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFDB, 0x80000000])
def test_sizes_that_a_pipe_gets_are_unknown(claimed: int) -> None:
    """ffmpeg, sox and arecord cannot go back to write the size, and leave these."""
    header = bytearray(make_header(PcmFormat(24_000), 0))
    header[-4:] = struct.pack("<I", claimed)
    assert read_header(io.BytesIO(header)).data_bytes is None


def test_zero_is_unknown_only_where_nothing_else_is_announced() -> None:
    plain = make_header(PcmFormat(24_000), 0)
    assert read_header(io.BytesIO(plain)).data_bytes is None
    followed = plain[:4] + struct.pack("<I", len(plain) - 8 + 12) + plain[8:]
    assert read_header(io.BytesIO(followed + b"LIST\4\0\0\0INFO")).data_bytes == 0


def test_chunks_before_the_samples_are_passed_over() -> None:
    plain = make_header(PcmFormat(24_000), 5)
    data = plain[:12] + b"LIST" + struct.pack("<I", 70_001) + bytes(70_002) + plain[12:]
    header = read_header(io.BytesIO(data))
    assert (header.data_bytes, header.data_start) == (10, len(data))


def test_codings_left_to_libsndfile_have_no_layout(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(10, 1), 8_000, subtype="ULAW")
    with (tmp_path / "a.wav").open("rb") as file:
        assert read_header(file).pcm is None


@settings(deadline=None, max_examples=300)
@given(cut=st.integers(0, 60), place=st.integers(0, 57), value=st.integers(0, 255))
def test_damaged_headers_give_a_header_or_one_error(cut: int, place: int, value: int) -> None:
    data = bytearray(make_header(PcmFormat(24_000, 2, "f32le"), 5))
    data[place] = value
    try:
        header = read_header(io.BytesIO(data[:cut]))
    except AudioError:
        return
    assert header.data_start <= cut


def test_a_header_of_more_than_four_gib_is_refused() -> None:
    assert len(make_header(PcmFormat(24_000), 2**31 - 64)) == 44
    with pytest.raises(AudioError, match="at most 4 GiB: write "):
        make_header(PcmFormat(24_000), 2**31)


@pytest.mark.parametrize(("channels", "encoding"), [(0, "s16le"), (1025, "s16le"), (1, "s16be")])
def test_layouts_that_are_not_known_are_refused(channels: int, encoding: str) -> None:
    with pytest.raises(AudioError, match="1 to 1024 channels in one of u8, s16le"):
        PcmFormat(24_000, channels, encoding)
