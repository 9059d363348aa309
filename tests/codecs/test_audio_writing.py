"""Writing: every format read back, rounding and clipping, and no file where a write failed."""

import io
import itertools
import math
import os
import resource
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
import torch
from torch import Tensor

from toneme.codecs.audio import read_audio
from toneme.codecs.audio_writing import AudioWriter
from toneme.codecs.errors import AudioError, ShapeError

LOSSLESS = ["wav", "flac", "aiff", "caf", "w64", "rf64"]
LOSSY = ["ogg", "opus", "mp3"]


def noise(n: int, channels: int = 2) -> Tensor:
    return torch.rand(channels, n, generator=torch.Generator().manual_seed(n)) * 1.9 - 0.95


def write(file, waveform: Tensor, rate: int = 48_000, block: int = 7_001, **options) -> AudioWriter:
    with AudioWriter(file, rate, waveform.shape[0], **options) as writer:
        for part in waveform.split(block, dim=1):
            writer.write(part)
    return writer


@pytest.fixture
def little_space() -> Iterator[None]:
    """A limit of 20,000 bytes per file: the same failing write as on a full disk."""
    handler, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize(
    ("suffix", "subtype"),
    [pair for pair in itertools.product(LOSSLESS, ["PCM_16", "PCM_24", "FLOAT"]) if pair != ("flac", "FLOAT")],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_lossless_formats_keep_the_samples(tmp_path: Path, suffix: str, subtype: str, channels: int) -> None:
    """To half a step: float32 holds 24 bits exactly."""
    waveform, path = noise(30_001, channels), tmp_path / f"a.{suffix}"
    half_step = {"PCM_16": 2**-16, "PCM_24": 2**-24, "FLOAT": 0}[subtype]
    writer = write(path, waveform, subtype=subtype)
    assert (writer.n_samples, writer.clipped) == (30_001, 0)
    assert soundfile.info(path).subtype == subtype
    got, rate = read_audio(path)
    assert rate == 48_000
    torch.testing.assert_close(got, waveform, rtol=0, atol=half_step)


@pytest.mark.parametrize("suffix", LOSSY)
def test_lossy_formats_resemble(tmp_path: Path, suffix: str) -> None:
    tone = 0.5 * torch.sin(torch.arange(48_000) / 20)[None]
    write(tmp_path / f"a.{suffix}", tone)
    got, rate = read_audio(tmp_path / f"a.{suffix}")
    assert (rate, got.shape) == (48_000, tone.shape)
    error = (got - tone)[:, 4_000:-4_000].square().mean() / tone.square().mean()
    assert 10 * math.log10(float(error)) < -15


@pytest.mark.parametrize("suffix", [*LOSSLESS, *LOSSY])
@pytest.mark.parametrize("n", [0, 1])
def test_hardly_any_samples_are_written_or_refused(tmp_path: Path, suffix: str, n: int) -> None:
    path = tmp_path / f"a.{suffix}"
    if n == 0 and suffix in ("flac", "opus", "mp3"):
        with pytest.raises(AudioError, match="cannot hold audio of 0 samples: write "):
            write(path, noise(n))
        assert not list(tmp_path.iterdir())
    else:
        write(path, noise(n))
        assert read_audio(path)[0].shape == (2, n)


def test_clipping_is_counted_and_only_where_it_happens(tmp_path: Path) -> None:
    waveform = torch.tensor([[1.0, -1.0, 1.0001, -3, 0.5, 2]])
    assert write(tmp_path / "a.wav", waveform).clipped == 3
    assert read_audio(tmp_path / "a.wav")[0].mul(2**15).tolist() == [[32767, -32768, 32767, -32768, 16384, 32767]]
    assert write(tmp_path / "b.wav", waveform, subtype="FLOAT").clipped == 0
    assert torch.equal(read_audio(tmp_path / "b.wav")[0], waveform)
    assert write(tmp_path / "a.ogg", waveform).clipped == 3


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_arrays_and_tensors_of_any_precision_are_written(tmp_path: Path, dtype: torch.dtype) -> None:
    waveform = noise(300_000).to(dtype)
    write(tmp_path / "tensor.wav", waveform, subtype="FLOAT")
    with AudioWriter(tmp_path / "array.wav", 48_000, len(waveform), "FLOAT") as writer:
        writer.write(waveform.double().numpy())
    assert (tmp_path / "tensor.wav").read_bytes() == (tmp_path / "array.wav").read_bytes()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nan_is_refused_and_nothing_is_left(tmp_path: Path, value: float) -> None:
    with pytest.raises(AudioError, match="to be written holds NaN or infinite"):
        write(tmp_path / "a.wav", torch.tensor([[0.0] * 10_000 + [value]]))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("block", [torch.zeros(1, 5), torch.zeros(5), torch.zeros(2, 5, dtype=torch.int16)])
def test_blocks_of_another_shape_are_refused(tmp_path: Path, block: Tensor) -> None:
    with (
        pytest.raises(ShapeError, match=r"floating point \[2, samples\]"),
        AudioWriter(tmp_path / "a.wav", 24_000, 2) as writer,
    ):
        writer.write(block)
    with pytest.raises(AudioError, match="not open"):
        AudioWriter(tmp_path / "a.wav", 24_000, 2).write(torch.zeros(2, 5))


def write_and_raise(path: Path, error: BaseException) -> None:
    with AudioWriter(path, 24_000, 1) as writer:
        writer.write(noise(100_000, 1))
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, OSError])
@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_an_interrupt_leaves_what_was_there(tmp_path: Path, error: type[BaseException], suffix: str) -> None:
    """And comes out as itself: an error of the reader must not be called one of the writer."""
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(b"before")
    with pytest.raises(error, match=r"^mine$"):
        write_and_raise(path, error("mine"))
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("little_space")
@pytest.mark.parametrize("suffix", [*LOSSLESS, *LOSSY])
@pytest.mark.parametrize("block", [2_000, 100_000])
def test_a_full_disk_is_one_sentence_and_no_file(tmp_path: Path, suffix: str, block: int) -> None:
    with pytest.raises(AudioError, match=r"a\.\w+ cannot be written \(File too large\): check the folder"):
        write(tmp_path / f"a.{suffix}", noise(200_000), block=block)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("format_", ["wav", "flac"])
def test_a_full_device_is_one_sentence_and_stays(format_: str) -> None:
    with pytest.raises(AudioError, match="/dev/full cannot be written"):
        write("/dev/full", noise(100_000), format=format_)
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_devices_and_links_are_not_replaced(tmp_path: Path) -> None:
    write("/dev/null", noise(100), format="wav")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    (tmp_path / "link.wav").symlink_to("real.wav")
    write(tmp_path / "link.wav", noise(100))
    assert (tmp_path / "link.wav").is_symlink()
    assert read_audio(tmp_path / "real.wav")[0].shape == (2, 100)


def test_paths_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "a.wav").mkdir()
    for path, message in [(tmp_path / "a.wav", "is a folder"), (tmp_path / "none" / "a.wav", "No such file or directory")]:
        with pytest.raises(AudioError, match=message):
            write(path, noise(10))
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


@pytest.mark.parametrize(
    ("name", "rate", "channels", "options", "message"),
    [
        ("a.flac", 24_000, 1, {"subtype": "FLOAT"}, "FLAC holds no FLOAT samples"),
        ("a.flac", 44_100, 11, {}, "flac cannot hold 11 channels at 44100 Hz as PCM_16"),
        ("a.opus", 44_100, 1, {}, "Opus only supports sample rates"),
        ("a.mp3", 384_000, 1, {}, "mp3 cannot hold 1 channels at 384000 Hz"),
        ("a.ogg", 384_000, 1, {}, "Vorbis takes at most 192000 Hz"),
        ("a.m4a", 24_000, 1, {}, "cannot be written as .m4a: choose one of wav, flac"),
        ("a.wav", 24_000, 1, {"subtype": "PCM_12"}, "samples can be written as PCM_16, PCM_24, FLOAT; got PCM_12"),
        ("a.wav", 24_000, 0, {}, "1 to 1024 channels"),
        ("a.wav", 0, 1, {}, "sample rate must be"),
    ],
)
def test_what_a_format_cannot_hold(tmp_path: Path, name: str, rate: int, channels: int, options: dict, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        write(tmp_path / name, torch.zeros(channels, 10), rate, **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_long_writes_at_once(tmp_path: Path, suffix: str) -> None:
    """Ten million samples in one call overflow the stack of libsndfile's Vorbis encoder unless they are cut up."""
    waveform = torch.zeros(1, 10_000_000 if suffix == "ogg" else 1_000_000)
    write(tmp_path / f"a.{suffix}", waveform, 24_000, block=waveform.shape[1])
    assert soundfile.info(tmp_path / f"a.{suffix}").frames == waveform.shape[1]


class Pipe(io.RawIOBase):
    """Takes bytes and cannot go back."""

    def __init__(self) -> None:
        self.data = b""

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self.data += bytes(data)
        return len(data)


@pytest.mark.parametrize("n_samples", [None, 5_001])
def test_a_wav_in_a_pipe(n_samples: int | None) -> None:
    pipe, waveform = Pipe(), noise(5_001, 1)
    write(pipe, waveform, subtype="PCM_24", n_samples=n_samples)
    assert pipe.data[40:44] == (b"\xff\xff\xff\xff" if n_samples is None else (3 * 5_001).to_bytes(4, "little"))
    torch.testing.assert_close(read_audio(io.BytesIO(pipe.data))[0], waveform, rtol=0, atol=2**-24)


def test_a_wrong_announcement_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="10 samples were announced and 5 written"):
        write(tmp_path / "a.wav", noise(5), n_samples=10)
    assert not list(tmp_path.iterdir())


def test_other_formats_go_through_a_temporary_file() -> None:
    pipe = Pipe()
    write(pipe, noise(5_000), format="flac")
    assert read_audio(io.BytesIO(pipe.data))[0].shape == (2, 5_000)


def test_a_file_object_gets_a_right_header() -> None:
    file = io.BytesIO(b"before")
    file.seek(6)
    write(file, noise(5_000))
    assert file.getvalue()[:10] == b"beforeRIFF"
    assert soundfile.info(io.BytesIO(file.getvalue()[6:])).frames == 5_000


def test_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(buffer))
    write("-", noise(100))
    assert read_audio(io.BytesIO(buffer.getvalue()))[0].shape == (2, 100)


def test_a_reader_that_went_away_is_no_file_that_cannot_be_written() -> None:
    read, write_end = os.pipe()
    os.close(read)
    with open(write_end, "wb", buffering=0) as pipe, pytest.raises(BrokenPipeError), AudioWriter(pipe, 24_000, 1) as writer:
        writer.write(noise(100_000, 1))


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", noise(10))
    (tmp_path / "b").touch()
    assert (tmp_path / "a.wav").stat().st_mode == (tmp_path / "b").stat().st_mode
