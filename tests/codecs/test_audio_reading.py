"""Blocks of audio: joined they equal the whole file, whatever the block, rate and channels; odd files; little memory."""

import io
import math
import resource
import struct
import warnings
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from toneme.codecs.audio_reading import AudioReader, AudioWarning
from toneme.codecs.audio_resampling import mix_channels, resample
from toneme.codecs.audio_wav import PcmFormat, make_header
from toneme.codecs.errors import AudioError


def joined(reader: AudioReader) -> Tensor:
    with reader:
        blocks = list(reader)
    assert all(block.shape[-1] for block in blocks)
    return torch.cat(blocks, 1) if blocks else torch.zeros(reader.channels, 0)


def written(path: Path, frames: np.ndarray, rate: int = 44_100, **options) -> Path:
    soundfile.write(path, frames, rate, **options)
    return path


def noise(n: int, channels: int) -> np.ndarray:
    return np.random.default_rng(n).uniform(-0.5, 0.5, (n, channels))


@pytest.mark.parametrize("seconds", [0.0101, 0.05, 0.5, 100])
@pytest.mark.parametrize(("channels", "wanted"), [(1, 1), (2, 1), (1, 2), (2, 2), (11, 1)])
@pytest.mark.parametrize("rate", [None, 24_000, 48_000])
def test_blocks_joined_equal_the_whole(tmp_path: Path, seconds: float, channels: int, wanted: int, rate: int | None) -> None:
    """Exactly, because the sums and the filters are the same ones."""
    path = written(tmp_path / "a.wav", noise(30_011, channels), subtype="FLOAT")
    whole = torch.from_numpy(soundfile.read(path, dtype="float32", always_2d=True)[0].T)
    expected = mix_channels(resample(mix_channels(whole, min(channels, wanted)), 44_100, rate or 44_100), wanted)
    reader = AudioReader(path, rate, wanted, block_seconds=seconds)
    assert (reader.sample_rate, reader.channels, reader.n_samples) == (rate or 44_100, wanted, expected.shape[1])
    assert torch.equal(joined(reader), expected)


@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.parametrize("rate", [None, 24_000, 96_000])
def test_hardly_any_samples(tmp_path: Path, n: int, rate: int | None) -> None:
    path = written(tmp_path / "a.wav", noise(n, 2), 48_000)
    reader = AudioReader(path, rate)
    assert joined(reader).shape == (2, reader.n_samples)
    assert (reader.n_samples > 0) == (n > 0)


@pytest.mark.parametrize(
    ("rate", "channels", "subtype"), [(384_000, 1, "PCM_24"), (44_100, 11, "PCM_16"), (8_000, 1, "PCM_U8")]
)
def test_odd_files(tmp_path: Path, rate: int, channels: int, subtype: str) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 1_000 * np.arange(rate) / rate)[:, None].repeat(channels, 1)
    reader = AudioReader(written(tmp_path / "a.wav", tone, rate, subtype=subtype), 24_000, 1)
    expected = 0.5 * torch.sin(2 * math.pi * 1_000 * torch.arange(24_000) / 24_000)
    got = joined(reader)[0]
    step = {"PCM_U8": 2**-7, "PCM_16": 2**-15, "PCM_24": 2**-23}[subtype]
    assert (reader.source_rate, reader.source_channels) == (rate, channels)
    # A step of the file's integers, and what float32 leaves of a phase of thousands of radians.
    torch.testing.assert_close(got[2_000:-2_000], expected[2_000:-2_000], rtol=0, atol=step + 5e-4)


def test_channels_that_cannot_be_had_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="6 channels cannot become audio of 2"):
        AudioReader(written(tmp_path / "a.wav", noise(10, 6)), channels=2)


def test_rates_that_cannot_be_are_refused(tmp_path: Path) -> None:
    """A header of 4 Hz would turn a small file into hours."""
    with pytest.raises(AudioError, match="got 4: check the file's header"):
        AudioReader(written(tmp_path / "a.wav", noise(10, 1), 4), 24_000)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("rate", [None, 24_000])
def test_nan_and_infinity_are_refused_with_their_place(tmp_path: Path, value: float, rate: int | None) -> None:
    frames = noise(44_100, 2)
    frames[22_050, 1] = value
    path = written(tmp_path / "a.wav", frames, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"a.wav holds NaN or infinite samples, the first at sample 22050 \(0.500 s\)"):
        joined(AudioReader(path, rate, block_seconds=0.1))


def test_what_float32_cannot_hold_is_refused() -> None:
    data = make_header(PcmFormat(24_000, 1, "f64le"), 2) + struct.pack("<2d", 0, 1e300)
    with pytest.raises(AudioError, match="the first at sample 1"):
        joined(AudioReader(io.BytesIO(data)))


@pytest.mark.parametrize(
    ("subtype", "values", "clipped"),
    [
        ("PCM_16", [0, 32767, -32768, 32766, -32767, -32766], 3),
        ("PCM_16", [0, 100, -100, 5, 6], 0),
        ("FLOAT", [1.0, -1.5, 0.9999, 0, 3], 3),
    ],
)
def test_clipping_is_counted_as_stored(tmp_path: Path, subtype: str, values: list, clipped: int) -> None:
    """Before mixing and resampling, which would hide it."""
    frames = np.array(values, np.int16 if subtype == "PCM_16" else np.float32)[:, None].repeat(2, 1)
    reader = AudioReader(written(tmp_path / "a.wav", frames, subtype=subtype), 24_000, 1)
    joined(reader)
    assert reader.clipped == 2 * clipped


def test_a_cut_file_warns_and_gives_what_is_there(tmp_path: Path) -> None:
    path = written(tmp_path / "a.wav", noise(10_000, 1))
    path.write_bytes(path.read_bytes()[:10_044])
    reader = AudioReader(path)
    with pytest.warns(AudioWarning, match=r"a.wav ends before its header says: 5000 samples were read"):
        assert joined(reader).shape == (1, 5_000)
    assert reader.truncated
    assert reader.n_samples == 5_000
    with pytest.warns(AudioWarning, match="5000 of 10000 samples were read"):
        joined(AudioReader(io.BytesIO(path.read_bytes())))


def test_a_whole_file_does_not_warn(tmp_path: Path) -> None:
    reader = AudioReader(written(tmp_path / "a.wav", noise(1_000, 1)), 24_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        joined(reader)
    assert not reader.truncated


def test_blocks_are_arrays_of_the_tensors(tmp_path: Path) -> None:
    path = written(tmp_path / "a.wav", noise(3_000, 2))
    with (
        AudioReader(path, 24_000, 1, block_seconds=0.01) as tensors,
        AudioReader(path, 24_000, 1, block_seconds=0.01) as arrays,
    ):
        for tensor, array in zip(tensors, arrays.blocks(), strict=True):
            assert array.flags.c_contiguous
            np.testing.assert_array_equal(array, tensor.numpy())


def test_iterating_goes_on_and_ends(tmp_path: Path) -> None:
    reader = AudioReader(written(tmp_path / "a.wav", noise(1_000, 1)), block_seconds=0.01)
    with reader:
        first = next(iter(reader))
        rest = torch.cat(list(reader), 1)
        assert list(reader) == []
    assert first.shape[1] + rest.shape[1] == 1_000


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_damaged_wavs_give_audio_or_one_error(data: st.DataObject) -> None:
    """Bytes of the header changed at random, as a file and as a pipe would be read."""
    content = bytearray(make_header(PcmFormat(24_000, 2), 50) + bytes(200))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(12, 47))] = data.draw(st.integers(0, 255))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AudioWarning)
        try:
            # ffmpeg has tests of its own, and a process for each example would be slow.
            with mock.patch("shutil.which", return_value=None):
                waveform = joined(AudioReader(io.BytesIO(content), 24_000, 1))
        except AudioError:
            return
    assert waveform.shape[1] <= 24 * 240  # 1 kHz becomes 24 kHz at most


def memory_in_use() -> int:
    """Resident bytes of this process now: the peak since its start may be another test's."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


class Endless(io.RawIOBase):
    """A WAV of some hours of silence that is stored nowhere."""

    def __init__(self, n_samples: int) -> None:
        self._head, self._left = make_header(PcmFormat(48_000, 2), n_samples), 4 * n_samples

    def read(self, size: int = -1) -> bytes:
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        size = min(size, self._left)
        self._left -= size
        return bytes(size)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system does not tell the memory in use")
@pytest.mark.parametrize("minutes", [5, pytest.param(180, marks=pytest.mark.slow)])
def test_length_does_not_cost_memory(minutes: int) -> None:
    """Five minutes are 58 MB of PCM, and as much as float32 at 24 kHz stereo; three hours are 2 GB."""
    n = minutes * 60 * 48_000
    joined(AudioReader(Endless(48_000 * 20), 24_000))
    before, most, read = memory_in_use(), 0, 0
    with AudioReader(Endless(n), 24_000) as reader:
        assert reader.n_samples == n // 2
        for block in reader:
            read, most = read + block.shape[1], max(most, memory_in_use())
    assert read == n // 2
    assert most - before < 20e6
