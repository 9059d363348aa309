"""Bad input through the command: one clear sentence, exit code 1 or 2, and no half-written output file."""

import errno
import os
import resource
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
import torch

import toneme
from toneme.codecs.bitpack import pack
from toneme.codecs.tokenfile import VERSION

from .conftest import heed_interrupts, leftovers, tone

COMMAND = [sys.executable, "-P", "-c", "from toneme.cli import main; main()"]


def refused(ran, target, *words, code=1):
    """Check a refusal: its exit code, its one sentence, and that nothing was left where the result would be."""
    assert ran.code == code
    for word in words:
        assert word in ran.sentence
    assert not target.exists()
    assert not leftovers(target.parent)
    return ran.sentence


@pytest.fixture(params=["encode", "roundtrip"])
def refuse(request, codec, tiny, tmp_path):
    """Run a command on bad audio and check that it refuses."""
    target = tmp_path / "out" / ("x.tok" if request.param == "encode" else "x.wav")
    return lambda path, *words: refused(codec(request.param, path, "-c", tiny, "-o", target), target, *words)


# -- audio ------------------------------------------------------------------------------------------------------


def test_missing_file(refuse, tmp_path):
    refuse(tmp_path / "missing.wav", "missing.wav does not exist")


def test_folder_without_audio(refuse, tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "notes.txt").write_text("no audio")
    refuse(tmp_path / "in", "in holds no file to work on: looked for", ".wav")


def test_empty_file(refuse, tmp_path):
    (tmp_path / "a.wav").write_bytes(b"")
    refuse(tmp_path / "a.wav", "a.wav is empty")


def test_text_renamed(refuse, tmp_path):
    (tmp_path / "a.wav").write_text("Dear diary, this is not audio. " * 50)
    refuse(tmp_path / "a.wav", "a.wav is not audio")


@pytest.mark.parametrize("keep", [12, 30, 43])
def test_wav_cut_in_its_header(refuse, wav, tmp_path, keep):
    data = wav("whole.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(data[:keep])
    refuse(tmp_path / "a.wav", "a.wav")


@pytest.mark.parametrize("keep", [0.25, 0.9])
def test_truncated_wav_is_refused_unless_salvaged(refuse, codec, wav, tiny, tmp_path, keep):
    data = wav("whole.wav", 2.0).read_bytes()
    (tmp_path / "a.wav").write_bytes(data[: int(len(data) * keep)])
    refuse(tmp_path / "a.wav", "a.wav ends early", "--salvage")
    ran = codec("encode", tmp_path / "a.wav", "-c", tiny, "-o", tmp_path / "y.tok", "--salvage")
    assert ran.code == 0
    assert ran.sentence.startswith("codec: warning: ")
    assert toneme.read_tokens(tmp_path / "y.tok").n_samples.item() == (int(len(data) * keep) - 44) // 2


def test_truncated_wav_on_stdin(codec, wav, tiny):
    ran = codec("encode", "-", "-c", tiny, stdin=wav().read_bytes()[:-100])
    assert ran.code == 1
    assert "standard input ends early" in ran.sentence


def test_no_samples(refuse, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros((0, 1)), 24000)
    refuse(tmp_path / "a.wav", "a.wav holds no samples")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rate", [24000, 44100])
def test_nan_and_infinity(refuse, tmp_path, value, rate):
    samples = tone(1.0, rate)
    samples[rate // 2] = value
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    refuse(tmp_path / "a.wav", "NaN or infinite", "0.500 s")


@pytest.mark.parametrize(
    "options",
    [
        {"seconds": 1 / 24000},
        {"channels": 11},
        {"subtype": "PCM_U8"},
        {"rate": 384000},
        {"seconds": 1 / 384000, "rate": 384000},
        {"rate": 8000, "channels": 11, "subtype": "PCM_U8"},
    ],
    ids=["1 sample", "11 channels", "8 bit", "384 kHz", "1 sample at 384 kHz", "8 kHz, 11 channels, 8 bit"],
)
def test_odd_audio_is_coded(codec, wav, tiny, tmp_path, options):
    path = wav(**options)
    ran = codec("encode", path, "-c", tiny)
    assert (ran.code, ran.err) == (0, "")
    assert codec("decode", tmp_path / "a.tok", "-c", tiny, "-o", tmp_path / "b.wav").code == 0
    about = soundfile.info(path)
    assert soundfile.info(tmp_path / "b.wav").frames == max(1, round(about.frames * 24000 / about.samplerate))


def test_channels_that_no_codec_of_two_can_take(codec, wav, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("toneme.codecs.toneme24k.TonemeCodec.spec", _stereo(tiny))
    ran = codec("encode", wav(channels=11), "-c", tiny, "-o", tmp_path / "x.tok")
    refused(ran, tmp_path / "x.tok", "11 channels cannot become audio of 2")


def _stereo(folder):
    from dataclasses import replace

    return replace(toneme.load(folder).spec, channels=2)


# -- token files ------------------------------------------------------------------------------------------------


@pytest.fixture
def refuse_tok(codec, tiny, tmp_path):
    """Write bytes to a token file, decode it, and check the refusal."""

    def check(data, *words, name="bad.tok"):
        (tmp_path / name).write_bytes(data)
        target = tmp_path / "out" / "x.wav"
        return refused(codec("decode", tmp_path / name, "-c", tiny, "-o", target), target, name, *words)

    return check


def chunk_end(data):
    """Return the byte after the first chunk, found as the least prefix from which a whole piece can be read."""
    import io

    from toneme.codecs.tokenfile import TokenReader

    for end in range(len(data)):
        try:
            if next(iter(TokenReader(io.BytesIO(data[:end]), salvage=True)), None) is not None:
                return end
        except toneme.TokenFileError:
            continue
    raise AssertionError("no chunk")


def test_tok_cut_at_every_byte_of_its_first_chunk(refuse_tok, codec, wav, tiny, tmp_path):
    assert codec("encode", wav(seconds=0.2), "-c", tiny, "-n", 4, "-o", tmp_path / "a.tok").code == 0
    data = (tmp_path / "a.tok").read_bytes()
    end = chunk_end(data)
    assert 60 < end < len(data)
    for cut in range(end + 1):
        refuse_tok(data[:cut])


def test_tok_with_any_byte_of_its_first_chunk_changed(refuse_tok, codec, wav, tiny, tmp_path):
    assert codec("encode", wav(seconds=0.1), "-c", tiny, "-n", 2, "-o", tmp_path / "a.tok").code == 0
    data = (tmp_path / "a.tok").read_bytes()
    for at in range(chunk_end(data)):
        refuse_tok(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])


def test_wrong_crc_names_the_byte(refuse_tok, tok):
    data = bytearray(tok.read_bytes())
    data[chunk_end(bytes(data)) - 1] ^= 0xFF
    assert "byte" in refuse_tok(bytes(data), "CRC")


def test_newer_version(refuse_tok, tok):
    data = bytearray(tok.read_bytes())
    data[4] = VERSION + 1
    refuse_tok(bytes(data), f"version {VERSION + 1}", "install a newer toneme")


def test_empty_and_foreign_files(refuse_tok, wav):
    refuse_tok(b"", "is empty")
    refuse_tok(b"text, not tokens, and quite some of it", "not a token file")
    refuse_tok(wav().read_bytes(), "not a token file")


def test_codes_out_of_range(codec, tiny, tmp_path):
    from dataclasses import replace

    tokens = toneme.load(tiny).encode(torch.zeros(1, 1, 4800))
    wide = replace(tokens, streams=(tokens.codes + 5000,), codebook_sizes=((1 << 13,) * 8,))
    wide.save(tmp_path / "bad.tok")
    ran = codec("decode", tmp_path / "bad.tok", "-c", tiny, "-o", tmp_path / "x.wav")
    refused(ran, tmp_path / "x.wav", "codes must be from 0 to 1023")


def test_more_codebooks_than_the_codec_has(codec, tiny, tmp_path):
    from dataclasses import replace

    tokens = toneme.load(tiny).encode(torch.zeros(1, 1, 4800))
    deep = replace(tokens, streams=(tokens.codes.repeat(1, 2, 1),), codebook_sizes=((1024,) * 16,))
    deep.save(tmp_path / "bad.tok")
    refused(
        codec("decode", tmp_path / "bad.tok", "-c", tiny, "-o", tmp_path / "x.wav"), tmp_path / "x.wav", "at most 8 codebooks"
    )


@pytest.mark.parametrize("claimed", [10**9, 10**15])
def test_more_samples_than_the_frames_stand_for(codec, tiny, tmp_path, claimed):
    from dataclasses import replace

    model = toneme.load(tiny)
    tokens = replace(model.encode(torch.zeros(1, 1, 4800)), n_samples=torch.tensor([claimed]))
    tokens.save(tmp_path / "bad.tok")
    ran = codec("decode", tmp_path / "bad.tok", "-c", tiny, "-o", tmp_path / "x.w64")
    refused(ran, tmp_path / "x.w64", f"claim {claimed} samples and their frames stand for 4800 at most")
    with pytest.raises(toneme.ShapeError, match="the file is damaged"):
        model.decode(tokens)


def test_ecdc_of_another_codec(codec, tiny, tmp_path):
    about = b'{"m": "encodec_24khz", "al": 2000, "nc": 8, "lm": false}'
    codes = pack([np.zeros(8 * 7, np.int64)], [10])
    (tmp_path / "a.ecdc").write_bytes(b"ECDC" + struct.pack("!BI", 0, len(about)) + about + codes)
    ran = codec("decode", tmp_path / "a.ecdc", "-c", tiny, "-o", tmp_path / "x.wav")
    refused(ran, tmp_path / "x.wav", "made by encodec_24khz, not by tiny")


def test_damaged_ecdc(refuse_tok):
    refuse_tok(b"ECDC\0", name="bad.ecdc")
    refuse_tok(b"ECDC" + struct.pack("!BI", 0, 1 << 31), name="bad.ecdc")


def test_weights_hash_mismatch(codec, tok, other, tmp_path):
    ran = codec("decode", tok, "-c", other, "-o", tmp_path / "x.wav")
    refused(ran, tmp_path / "x.wav", "with weights", "--any-weights")


# -- codecs -----------------------------------------------------------------------------------------------------


def test_unknown_codec(codec, wav, tmp_path):
    ran = codec("encode", wav(), "-c", "tonem-24", "-o", tmp_path / "x.tok")
    refused(ran, tmp_path / "x.tok", "no codec or folder is called 'tonem-24'")


@pytest.mark.parametrize("size", [0, 4, 8, 100, -1])
def test_damaged_weights(codec, wav, tiny, tmp_path, size):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "config.json").write_bytes((tiny / "config.json").read_bytes())
    (tmp_path / "c" / "model.safetensors").write_bytes((tiny / "model.safetensors").read_bytes()[:size])
    ran = codec("encode", wav(), "-c", tmp_path / "c", "-o", tmp_path / "x.tok")
    refused(ran, tmp_path / "x.tok", "not a readable safetensors file")


def test_device_that_is_not_there(codec, wav, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    ran = codec("encode", wav(), "-c", tiny, "--device", "cuda", "-o", tmp_path / "x.tok")
    refused(ran, tmp_path / "x.tok", "no CUDA device")


# -- where results go -------------------------------------------------------------------------------------------


@pytest.fixture(params=["encode", "decode", "roundtrip"])
def write_to(request, codec, wav, tok, tiny):
    """Run each writing command with a given -o."""
    source = tok if request.param == "decode" else wav()
    write = lambda target: codec(request.param, source, "-c", tiny, "-o", target)  # noqa: E731
    write.suffix = ".tok" if request.param == "encode" else ".wav"
    return write


def test_output_under_a_file(write_to, tmp_path):
    (tmp_path / "file").write_text("")
    ran = write_to(tmp_path / "file" / f"x{write_to.suffix}")
    assert ran.code == 1
    assert str(tmp_path / "file") in ran.sentence
    assert "name another place" in ran.sentence


def test_output_folder_that_may_not_be_written(write_to, tmp_path, monkeypatch):
    def denied(*args, **options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(tmp_path / "x"))

    monkeypatch.setattr("toneme.codecs.files._created", denied)
    target = tmp_path / f"x{write_to.suffix}"
    assert "ermission" in refused(write_to(target), target)


def test_output_name_too_long(write_to, tmp_path):
    ran = write_to(tmp_path / ("x" * 300 + write_to.suffix))
    assert ran.code == 1
    assert ran.sentence


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_disk_full_on_a_device(write_to):
    from pathlib import Path

    ran = write_to(Path("/dev/full"))
    assert ran.code == 1
    assert "/dev/full cannot be written (No space left on device)" in ran.sentence
    assert not Path("/dev/full").is_file()


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_disk_full_leaves_no_file(codec, wav, tok, tiny, tmp_path, command):
    """A limit on the size of files stands in for a full disk: writes beyond it fail in the same place."""
    source = wav("b.wav", 30) if command == "encode" else tok
    target = tmp_path / "out" / "x"
    limit = 2000 if command == "encode" else 20000
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        ran = codec(command, source, "-c", tiny, "-o", target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    refused(ran, target, "cannot be written (File too large)")


@pytest.mark.parametrize("command", ["encode", "decode", "roundtrip"])
def test_an_old_result_survives_a_failure(codec, wav, tok, tiny, tmp_path, command):
    target = tmp_path / ("x.tok" if command == "encode" else "x.wav")
    target.write_text("precious")
    bad = tmp_path / ("bad.tok" if command == "decode" else "bad.wav")
    data = tok.read_bytes() if command == "decode" else wav().read_bytes()
    bad.write_bytes(data[: len(data) - 20])
    assert codec(command, bad, "-c", tiny, "-o", target).code == 1
    assert target.read_text() == "precious"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupt_leaves_no_file(tiny, tmp_path, number, code):
    """A pipe that never ends keeps the command busy until the signal comes."""
    target = tmp_path / "out" / "x.tok"
    read, write = os.pipe()
    process = subprocess.Popen(
        [*COMMAND, "encode", "-", "-c", str(tiny), "-o", str(target)],
        stdin=read,
        stderr=subprocess.PIPE,
        preexec_fn=heed_interrupts,
    )
    soundfile.write(tmp_path / "a.wav", tone(1.0), 24000)
    os.write(write, (tmp_path / "a.wav").read_bytes()[:4000])
    wait_for(lambda: target.parent.exists() and leftovers(target.parent))
    process.send_signal(number)
    _, messages = process.communicate(timeout=60)
    os.close(read)
    os.close(write)
    assert process.returncode == code
    assert messages.decode() in ("codec: interrupted; no unfinished file was left\n", "")
    assert (messages != b"") == (number == signal.SIGINT)
    assert list(target.parent.iterdir()) == []


SIGNALLED = """
import os, signal, sys
class Signals:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy.linalg":
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.{})
sys.meta_path.insert(0, Signals())
from toneme.cli import main
main()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_not_lost_while_torch_imports_numpy(number, code):
    """PyTorch does that from C, and drops what is raised meanwhile: the command went on as if nothing had come."""
    line = [sys.executable, "-P", "-c", SIGNALLED.format(number.name), "list"]
    ran = subprocess.run(line, capture_output=True, text=True, preexec_fn=heed_interrupts, check=False)
    message = "codec: interrupted; no unfinished file was left\n" if number == signal.SIGINT else ""
    assert (ran.returncode, ran.stdout, ran.stderr) == (code, "", message)


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


INTERRUPTED_IMPORT = """
import os, signal, sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
from toneme.__main__ import main
main()
"""


def test_an_interrupt_while_modules_load_says_nothing():
    line = [sys.executable, "-P", "-c", INTERRUPTED_IMPORT]
    ran = subprocess.run(line, capture_output=True, text=True, preexec_fn=heed_interrupts, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (-signal.SIGINT, "", "")
    ignoring = ["sh", "-c", 'trap "" INT; exec "$@" --version', "sh", *line]
    ran = subprocess.run(ignoring, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_interrupt_in_a_batch_ends_it(codec, wav, tiny, tmp_path, monkeypatch):
    wav("in/a.wav", 0.2)
    wav("in/b.wav", 0.2)

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("toneme.codecs.toneme24k.TonemeStreamEncoder._push", interrupted)
    ran = codec("encode", tmp_path / "in", "-c", tiny, "-o", tmp_path / "out")
    assert ran.code == 130
    assert ran.sentence == "codec: interrupted; no unfinished file was left"
    assert list((tmp_path / "out").iterdir()) == []


def test_the_real_command_refuses_in_one_line(tmp_path):
    """In a process of its own: no traceback, no warning of a library, nothing from the interpreter's end."""
    (tmp_path / "a.wav").write_text("not audio")
    done = subprocess.run(
        [*COMMAND, "encode", str(tmp_path / "a.wav"), "-c", "no-such-codec"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("codec: no codec or folder is called 'no-such-codec'")
    assert done.stderr.count("\n") == 1
