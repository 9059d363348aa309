"""`codec stream`: live audio to tokens and back, the pieces equal to the whole, each as soon as it is certain."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
import torch

import toneme
from toneme.codecs.dac import DacCodec, DacConfig
from toneme.codecs.layers.dac_blocks import DacBlocksConfig

from .conftest import heed_interrupts, tone

COMMAND = [sys.executable, "-P", "-c", "from toneme.cli import main; main()", "stream"]


def tokens_of(data, tmp_path):
    (tmp_path / "out.tok").write_bytes(data)
    return toneme.read_tokens(tmp_path / "out.tok")


@pytest.mark.parametrize("encoding", ["s16le", "f32le"])
@pytest.mark.parametrize(("rate", "channels"), [(24000, 1), (16000, 2)])
def test_bare_samples(codec, tiny, tmp_path, encoding, rate, channels):
    samples = tone(1.234, rate, channels)
    raw = (samples * 32768).round().astype("<i2") if encoding == "s16le" else samples.astype("<f4")
    ran = codec("stream", "-c", tiny, "--rate", rate, "--channels", channels, "--format", encoding, stdin=raw.tobytes())
    assert (ran.code, ran.err) == (0, "")
    made = tokens_of(ran.out, tmp_path)
    wave = torch.from_numpy(raw.astype(np.float32).T / (32768 if encoding == "s16le" else 1))
    whole = toneme.load(tiny).encode(wave, rate)
    assert torch.equal(made.codes, whole.codes)
    assert made.n_samples.tolist() == whole.n_samples.tolist()


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "PCM_U8"])
def test_wav_says_its_own_layout(codec, wav, tiny, tmp_path, subtype):
    path = wav("a.wav", 0.7, 16000, 2, subtype=subtype)
    ran = codec("stream", "-c", tiny, "-n", 2, stdin=path.read_bytes())
    assert ran.code == 0
    assert codec("encode", path, "-c", tiny, "-n", 2, "-o", tmp_path / "x.tok").code == 0
    assert torch.equal(tokens_of(ran.out, tmp_path).codes, toneme.read_tokens(tmp_path / "x.tok").codes)


@pytest.mark.parametrize("kind", ["FLAC", "OGG", "AIFF", "CAF"])
def test_files_that_would_be_noise_are_refused(codec, wav, tiny, kind):
    ran = codec("stream", "-c", tiny, stdin=wav(f"a.{kind.lower()}").read_bytes())
    assert (ran.code, ran.out) == (1, b"")
    assert f"{kind} came on stdin, which takes bare samples or WAV: convert it first".lower() in ran.sentence.lower()


def test_tokens_that_are_to_be_encoded_are_refused(codec, tok, tiny):
    ran = codec("stream", "-c", tiny, stdin=tok.read_bytes())
    assert (ran.code, ran.out) == (1, b"")
    assert "tokens came on stdin: turn them into audio with --decode" in ran.sentence


def test_back_to_bare_samples(codec, wav, tiny, tmp_path):
    stream = codec("stream", "-c", tiny, stdin=wav(seconds=1.2345).read_bytes()).out
    wave = toneme.load(tiny).decode(tokens_of(stream, tmp_path))[0]
    ran = codec("stream", "-c", tiny, "--decode", "--format", "f32le", stdin=stream)
    assert (ran.code, ran.err) == (0, "")
    assert np.abs(np.frombuffer(ran.out, "<f4") - wave[0].numpy()).max() < 1e-5
    ran = codec("stream", "-c", tiny, "--decode", stdin=stream)
    expected = (wave[0].numpy() * 32768).round().clip(-32768, 32767)
    assert np.abs(np.frombuffer(ran.out, "<i2") - expected).max() <= 1


def test_back_to_wav(codec, wav, tiny, tmp_path):
    stream = codec("stream", "-c", tiny, stdin=wav(seconds=1.2345).read_bytes()).out
    ran = codec("stream", "-c", tiny, "--decode", "--wav", stdin=stream)
    (tmp_path / "x.wav").write_bytes(ran.out)
    assert soundfile.read(tmp_path / "x.wav")[0].shape == (29628,)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--format", "mulaw"], "s16le or f32le"),
        (["--decode", "--rate", 8000], "of no use with --decode"),
        (["--wav"], "--wav goes with --decode"),
        (["--chunk-ms", 0], "chunk-ms"),
        (["--chunk-seconds", 0], "--chunk-seconds must be a number of seconds above 0; got 0"),
        (["--decode", "--chunk-seconds", "inf"], "--chunk-seconds must be a number of seconds above 0; got inf"),
        (["--chunk-seconds", "nan"], "--chunk-seconds must be a number of seconds above 0; got nan"),
    ],
)
def test_usage_errors(codec, tiny, options, words):
    ran = codec("stream", "-c", tiny, *options)
    assert ran.code == 2
    assert words in ran.sentence
    assert ran.out == b""


@pytest.fixture
def dac(tmp_path):
    torch.manual_seed(0)
    DacCodec(DacConfig(8000, DacBlocksConfig(4, (2, 4), 16, 16), 3, 32, 4), "small-dac").eval().save(tmp_path / "dac")
    return tmp_path / "dac"


def test_chunks_as_short_as_asked_for_come_before_the_end(dac, tmp_path):
    model, raw = toneme.load(dac), (tone(3.0, 8000) * 32768).round().astype("<i2")
    whole = model.encode(torch.from_numpy(raw.T / np.float32(32768)))
    with live(["-c", dac, "--chunk-seconds", 0.1]) as encoder:  # by itself the codec would gather 10 s
        encoder.stdin.write(raw.tobytes())
        early = read_until(encoder.stdout, lambda data: len(data) > 300)
        rest, error = encoder.communicate()
    assert (encoder.returncode, error) == (0, b"")
    assert torch.equal(tokens_of(early + rest, tmp_path).codes, whole.codes)
    with live(["-c", dac, "--decode", "--chunk-seconds", 0.1, "--format", "f32le"]) as decoder:
        decoder.stdin.write(early + rest[:-60])
        decoder.stdin.flush()
        sound = read_until(decoder.stdout, lambda data: len(data) > 4 * 8000)
        decoder.stdin.write(rest[-60:])
        sound += decoder.communicate()[0]
    np.testing.assert_allclose(np.frombuffer(sound, "<f4"), model.decode(whole)[0, 0].numpy(), atol=1e-5)


def test_chunks_of_a_codec_that_goes_frame_by_frame_change_nothing(codec, tiny, wav):
    audio = wav(seconds=0.5).read_bytes()
    assert codec("stream", "-c", tiny, "--chunk-seconds", 7, stdin=audio).out == codec("stream", "-c", tiny, stdin=audio).out


def test_nothing_on_stdin(codec, tiny):
    ran = codec("stream", "-c", tiny)
    assert ran.code == 1
    assert "no audio came on stdin" in ran.sentence
    ran = codec("stream", "-c", tiny, "--decode")
    assert ran.code == 1
    assert "standard input is empty" in ran.sentence
    assert ran.out == b""


def test_audio_to_decode_and_tokens_to_encode(codec, wav, tok, tiny):
    ran = codec("stream", "-c", tiny, "--decode", stdin=wav().read_bytes())
    assert ran.code == 1
    assert ran.sentence
    assert ran.out == b""


def test_nan_is_refused(codec, tiny):
    ran = codec("stream", "-c", tiny, "--format", "f32le", stdin=np.full(9600, np.nan, "<f4").tobytes())
    assert ran.code == 1
    assert "NaN" in ran.sentence


def read_until(pipe, enough, seconds=60):
    """Read what comes without waiting for the end, until there is enough."""
    os.set_blocking(pipe.fileno(), False)
    data, end = b"", time.monotonic() + seconds
    while not enough(data) and time.monotonic() < end:
        data += pipe.read() or b""
        time.sleep(0.01)
    assert enough(data), f"{len(data)} bytes after {seconds} s"
    return data


def live(arguments):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*COMMAND, *map(str, arguments)], **pipes)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_tokens_come_while_audio_still_flows_and_an_interrupt_ends_the_stream_well(tiny, tmp_path, number):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([*COMMAND, "-c", str(tiny)], preexec_fn=heed_interrupts, **pipes)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write((tone(2.0) * 32768).astype("<i2").tobytes())
    process.stdin.flush()
    early = read_until(process.stdout, lambda data: len(data) > 700)  # 1.4 of 2 s at 4 kbps; stdin is still open
    process.send_signal(number)
    late, messages = process.communicate(timeout=60)
    made = tokens_of(early + late, tmp_path)
    assert process.returncode == 128 + number
    interrupted = "codec: interrupted; the token stream was ended properly\n"
    assert messages.decode() == (interrupted if number == signal.SIGINT else "")
    assert made.n_samples.tolist() == [48000]
    wave = torch.from_numpy((tone(2.0) * 32768).astype("<i2").astype(np.float32).T / 32768)
    assert torch.equal(made.codes, toneme.load(tiny).encode(wave).codes)


def test_audio_comes_while_tokens_still_flow(tiny, codec, wav):
    stream = codec("stream", "-c", tiny, stdin=wav(seconds=2.0).read_bytes()).out
    process = subprocess.Popen([*COMMAND, "--decode", "-c", str(tiny)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(stream[: len(stream) // 2])
    process.stdin.flush()
    early = read_until(process.stdout, lambda data: len(data) > 24000)  # half a second of s16le
    process.stdin.write(stream[len(stream) // 2 :])
    late, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert len(early + late) == 96000
