"""Where samples come from: every format, pipes, ffmpeg present and absent, and files that are not what they say."""

import io
import os
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from toneme.codecs.audio_sources import FfmpegSource, LibsndfileSource, PcmSource, open_source
from toneme.codecs.audio_wav import PcmFormat
from toneme.codecs.errors import AudioError

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, (30_000, 2)).astype(np.float32)


def written(path: Path, **options) -> Path:
    soundfile.write(path, NOISE, 48_000, **options)
    return path


def read_all(source, frames: int = 7_000) -> np.ndarray:
    blocks = [source.read(frames)]
    while len(blocks[-1]):
        blocks.append(source.read(frames))
    source.close()
    return np.concatenate(blocks)


def assert_whole_without_a_length(path: Path) -> None:
    source = open_source(path)
    assert source.n_samples is None
    assert len(read_all(source)) == 30_000
    assert not source.truncated


class Pipe(io.RawIOBase):
    """A stream that cannot go back and gives at most 1,000 bytes at a time, as pipes may."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._data.read(min(size, 1_000) if size >= 0 else 1_000)


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.wav", {}), ("a.wav", {"subtype": "FLOAT"}), ("a.wav", {"subtype": "ULAW"}), ("a.wav", {"subtype": "IMA_ADPCM"}),
     ("a.flac", {}), ("a.ogg", {}), ("a.opus", {"format": "OGG", "subtype": "OPUS"}), ("a.mp3", {}), ("a.w64", {})],
)  # fmt: skip
def test_a_file_and_its_pipe_give_what_libsndfile_gives(tmp_path: Path, name: str, options: dict) -> None:
    path = written(tmp_path / name, **options)
    expected = soundfile.read(path, dtype="float32", always_2d=True)[0]
    for file in (path, str(path), Pipe(path.read_bytes())):
        source = open_source(file)
        assert (source.sample_rate, source.channels) == (48_000, 2)
        assert source.n_samples == len(expected)
        np.testing.assert_array_equal(read_all(source), expected)


def test_opus_in_short_blocks_is_as_the_whole(tmp_path: Path) -> None:
    path = tmp_path / "tone.opus"
    sound = np.random.default_rng(0).normal(0, 0.2, 96_000)
    soundfile.write(path, sound, 48000, format="OGG", subtype="OPUS")
    whole = soundfile.read(path, dtype="float32", always_2d=True)[0]
    np.testing.assert_array_equal(read_all(open_source(path), 333), whole)


def test_a_wav_in_a_pipe_is_not_copied_first(tmp_path: Path) -> None:
    """Its first block comes out before the last is written: a live recording can be read."""
    data = written(tmp_path / "a.wav").read_bytes()
    readable, writable = os.pipe()
    with os.fdopen(readable, "rb") as stream, os.fdopen(writable, "wb") as sink:
        sink.write(data[:20_044])
        sink.flush()
        source = open_source(stream)
        assert isinstance(source, PcmSource)
        assert source.read(5_000).shape == (5_000, 2)


def test_a_named_pipe_is_read_once(tmp_path: Path) -> None:
    data = written(tmp_path / "a.wav").read_bytes()
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(data,))
    writer.start()
    got = read_all(open_source(tmp_path / "pipe"))
    writer.join()
    assert len(got) == len(NOISE)


@pytest.mark.parametrize(("n_bytes", "truncated"), [(4_000, False), (4_001, True), (0, False)])
def test_raw_samples(n_bytes: int, truncated: bool) -> None:
    data = NOISE.astype("<f4").tobytes()[:n_bytes]
    source = open_source(Pipe(data), PcmFormat(24_000, 2, "f32le"))
    assert (source.sample_rate, source.channels, source.n_samples) == (24_000, 2, None)
    np.testing.assert_array_equal(read_all(source), NOISE[: n_bytes // 8])
    assert source.truncated is truncated


def test_a_raw_file_wants_its_layout(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(bytes(100))
    with pytest.raises(AudioError, match="has no header: say its sample rate"):
        open_source(tmp_path / "a.raw")
    assert read_all(open_source(tmp_path / "a.raw", PcmFormat(8_000))).shape == (50, 1)


def test_a_cut_wav_gives_what_is_there(tmp_path: Path) -> None:
    path = written(tmp_path / "a.wav")
    whole = open_source(path)
    assert len(read_all(whole)) == 30_000
    assert not whole.truncated
    path.write_bytes(path.read_bytes()[:40_002])
    for file in (path, Pipe(path.read_bytes())):
        source = open_source(file)
        assert len(read_all(source)) == (40_002 - 44) // 4
        assert source.truncated


def test_a_wav_whose_sizes_were_never_written_gives_what_is_there(tmp_path: Path) -> None:
    path = written(tmp_path / "a.wav")
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = bytes(4)  # what a recorder leaves that is killed, and a pipe into a file
    path.write_bytes(data)
    assert_whole_without_a_length(path)


def test_a_wav_of_nothing_has_nothing(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", NOISE[:0], 48_000)
    source = open_source(tmp_path / "a.wav")
    assert source.n_samples == len(read_all(source)) == 0


def test_a_flac_of_unknown_length_is_not_cut(tmp_path: Path) -> None:
    path = written(tmp_path / "a.flac")
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # 36 bits of samples in STREAMINFO: 0 is what an encoder writes into a pipe
    data[22:26] = bytes(4)
    path.write_bytes(data)
    assert_whole_without_a_length(path)


def test_a_cut_mp3_is_noticed(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mp3")
    path.write_bytes(path.read_bytes()[:5_000])
    source = open_source(path)
    assert 0 < len(read_all(source)) < 30_000
    assert source.truncated


def test_a_cut_flac_names_the_place(tmp_path: Path) -> None:
    path = written(tmp_path / "a.flac")
    path.write_bytes(path.read_bytes()[:50_000])
    source = open_source(path)
    with pytest.raises(AudioError, match=r"a.flac is damaged after \d+ samples .*fetch it again"):
        read_all(source)
    source.close()


@pytest.mark.parametrize("ffmpeg", [pytest.param(True, marks=needs_ffmpeg), False])
@pytest.mark.parametrize(
    "content", [b"a text file\n" * 100, bytes(5_000), b"RIFF\0\0\0\0WAVE", b"fLaC" + bytes(100), b"\xff\xfb\x90\0"]
)
@pytest.mark.parametrize("piped", [True, False])
def test_what_is_not_audio_is_said_to_be_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, ffmpeg: bool, piped: bool
) -> None:
    if not ffmpeg:
        monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "spool"))
    (tmp_path / "spool").mkdir()
    path = tmp_path / "speech.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError) as caught:
        open_source(Pipe(content) if piped else path)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "spool").iterdir())


def test_missing_empty_and_folders(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    for path, message in [
        ("none.wav", "No such file"),
        ("empty.wav", "is empty"),
        ("", "is a folder"),
        ("empty.wav/a", "Not a d"),
    ]:
        with pytest.raises(AudioError, match=message):
            open_source(tmp_path / path)
    with pytest.raises(AudioError, match="gave no data"):
        open_source(io.BytesIO())


def test_without_ffmpeg_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x1cftypM4A " + bytes(500))
    with pytest.raises(AudioError, match=r"a\.m4a is not audio that libsndfile reads .* install ffmpeg"):
        open_source(tmp_path / "a.m4a")


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.m4a", "a.webm", "a.wma", "-a.mkv", "http:a.ac3"])
def test_ffmpeg_reads_the_rest(tmp_path: Path, name: str) -> None:
    """Lossy codings, so the samples only resemble; names must not be taken for options or addresses."""
    tone = np.sin(np.arange(48_000) / 20)[:, None].repeat(2, 1) * 0.5
    soundfile.write(tmp_path / "a.wav", tone, 48_000)
    subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", f"file:{tmp_path / name}"], check=True)
    for file in (tmp_path / name, Pipe((tmp_path / name).read_bytes())):
        source = open_source(file)
        assert isinstance(source, FfmpegSource)
        assert (source.sample_rate, source.channels, source.n_samples) == (48_000, 2, None)
        got = read_all(source)
        assert abs(len(got) - 48_000) < 3_000
        spectrum = np.abs(np.fft.rfft(got[8_000:40_000, 0]))
        assert abs(int(spectrum.argmax()) - round(32_000 / 20 / 2 / np.pi)) <= 1


@needs_ffmpeg
def test_ffmpeg_does_not_follow_playlists(tmp_path: Path) -> None:
    """A playlist with an address in it must not make a reader of files open a connection."""
    (tmp_path / "a.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(AudioError, match="not audio that libsndfile or ffmpeg can read"):
        open_source(tmp_path / "a.m3u8")


@needs_ffmpeg
def test_ffmpeg_ends_when_closed_early(tmp_path: Path) -> None:
    written(tmp_path / "a.wav")
    subprocess.run(["ffmpeg", "-v", "error", "-stream_loop", "50", "-i", "a.wav", "a.mka"], cwd=tmp_path, check=True)
    source = open_source(tmp_path / "a.mka")
    assert isinstance(source, FfmpegSource)
    source.read(10)
    source.close()
    assert source._process.returncode is not None


def test_a_name_that_is_no_text_can_be_read(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.wav"))
    written(tmp_path / "a.wav").rename(path)
    assert isinstance(source := open_source(path), LibsndfileSource)
    assert len(read_all(source)) == 30_000


def test_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.wav", "a.flac"):
        path = written(tmp_path / name)
        with subprocess.Popen(["cat", path], stdout=subprocess.PIPE) as cat:
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(cat.stdout))
            assert read_all(open_source("-")).shape == (30_000, 2)
