"""Sinks: what stands between samples and bytes, and errors that pass through C."""

import errno
import io

import numpy as np
import pytest
import soundfile

from toneme.codecs.audio_sinks import FORMATS, LOSSY, LibsndfileSink, WavSink, check_format
from toneme.codecs.audio_wav import PcmFormat
from toneme.codecs.errors import AudioError

NOISE = np.random.default_rng(0).uniform(-0.9, 0.9, (50_000, 2)).astype(np.float32)


class Failing(io.BytesIO):
    """Refuses one kind of call once so many bytes are written."""

    def __init__(self, call: str, after: int) -> None:
        super().__init__()
        self.call, self.after = call, after

    def _check(self, call: str) -> None:
        if call == self.call and len(self.getbuffer()) >= self.after:
            raise OSError(errno.ENOSPC, "No space left on device")

    def write(self, data) -> int:
        self._check("write")
        return super().write(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._check("seek")
        return super().seek(offset, whence)


def fill(sink) -> None:
    for start in range(0, len(NOISE), 5_000):
        sink.write(NOISE[start : start + 5_000])
    sink.finish()


@pytest.mark.parametrize("format_", ["wav", *FORMATS])
@pytest.mark.parametrize("call", ["write", "seek"])
def test_an_error_of_the_file_comes_out_as_itself(format_: str, call: str) -> None:
    """And libsndfile is let go without another word to the file. Ogg and mp3 streams hardly seek."""
    file, pcm = Failing(call, 3_000), PcmFormat(48_000, 2)
    sink = WavSink(file, pcm, None, True) if format_ == "wav" else LibsndfileSink(file, pcm, format_, True)
    if call == "write" or format_ not in LOSSY:
        with pytest.raises(OSError, match="No space left on device"):
            fill(sink)
    file.call = "every"
    sink.close()
    sink.close()


def test_the_patched_wav_header_is_the_announced_one() -> None:
    """A file that is rewound at the end equals one whose length was known at the beginning."""
    files = io.BytesIO(), io.BytesIO()
    for file, n_samples in zip(files, (None, len(NOISE)), strict=True):
        fill(WavSink(file, PcmFormat(48_000, 2, "s24le"), n_samples, rewind=n_samples is None))
    assert files[0].getvalue() == files[1].getvalue()


@pytest.mark.parametrize("rewind", [True, False])
def test_flac_is_the_same_by_either_way(rewind: bool) -> None:
    file = io.BytesIO()
    sink = LibsndfileSink(file, PcmFormat(48_000, 2), "flac", rewind)
    fill(sink)
    sink.close()
    got = soundfile.read(io.BytesIO(file.getvalue()), dtype="float32")[0]
    np.testing.assert_allclose(got, NOISE, rtol=0, atol=2**-16)


@pytest.mark.parametrize(
    ("format_", "pcm", "message"),
    [
        ("flac", PcmFormat(24_000, 1, "f32le"), "FLAC holds no FLOAT"),
        ("ogg", PcmFormat(384_000), "Vorbis takes at most 192000"),
        ("aac", PcmFormat(24_000), "choose one of wav, flac, ogg"),
    ],
)
def test_formats_that_cannot_be_are_known_before_a_file_is_opened(format_: str, pcm: PcmFormat, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        check_format(format_, pcm)
