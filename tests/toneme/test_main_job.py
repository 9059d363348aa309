"""The first thing that anyone does: a file in, tokens, audio out, with the codec that ships, offline."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile

import toneme

COMMAND = [sys.executable, "-P", "-c", "from toneme.cli import main; main()"]
NO_NETWORK = "import socket; socket.socket.connect = None; socket.getaddrinfo = None; "  # any use of it would be an error


def test_speech_there_and_back_in_processes_of_their_own(samples, tmp_path):
    command = [sys.executable, "-P", "-c", NO_NETWORK + "from toneme.cli import main; main()"]
    (tmp_path / "speech.wav").write_bytes((samples / "speech.wav").read_bytes())
    for line in (["encode", "speech.wav"], ["decode", "speech.tok", "-o", "decoded.wav"]):
        done = subprocess.run([*command, *line], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    before, after = soundfile.info(tmp_path / "speech.wav"), soundfile.info(tmp_path / "decoded.wav")
    assert (after.frames, after.samplerate, after.channels) == (before.frames, before.samplerate, 1)
    assert sorted(os.listdir(tmp_path)) == ["decoded.wav", "speech.tok", "speech.wav"]
    tokens = toneme.read_tokens(tmp_path / "speech.tok")
    assert (tokens.codec, tokens.depth) == ("toneme-24k", 8)


def test_each_depth_costs_half_a_kilobit(codec, samples):
    for codebooks in (1, 8):
        done = json.loads(codec("roundtrip", samples / "speech.wav", "-n", codebooks, "--json").out)
        assert done["nominal_kbps"] == 0.5 * codebooks
        assert done["kbps"] <= 0.5 * codebooks * 1.01 + 0.3  # the header and the index of a short file


@pytest.mark.slow
@pytest.mark.parametrize("command", ["encode", "decode"])
def test_memory_does_not_grow_with_the_file(tiny, tmp_path, command):
    """One hour takes at most 64 MB more than one minute, and both less than 1 GB."""
    peaks = []
    for minutes in (1, 60):
        source = tmp_path / f"{minutes}.wav"
        rng = np.random.default_rng(0)
        with soundfile.SoundFile(source, "w", 44100, 2) as file:
            for _ in range(minutes):
                file.write(0.1 * rng.standard_normal((44100 * 60, 2)).astype(np.float32))
        if command == "decode":
            subprocess.run([*COMMAND, "encode", str(source), "-c", str(tiny)], check=True, capture_output=True)
        line = ["encode", str(source)] if command == "encode" else ["decode", str(source.with_suffix(".tok"))]
        target = tmp_path / ("out.tok" if command == "encode" else "out.wav")
        peaks.append(peak_megabytes([*line, "-c", str(tiny), "-o", str(target)]))
        source.unlink()
    assert peaks[1] < 1000
    assert peaks[1] - peaks[0] < 64


def peak_megabytes(line):
    # Linux counts the parent's memory at the fork into ru_maxrss of the child, but not into VmHWM
    code = (
        f"import pathlib, resource; from toneme.cli import run; assert run({line!r}) == 0; "
        "status = pathlib.Path('/proc/self/status'); "
        "print(status.read_text().split('VmHWM:')[1].split()[0] if status.exists() "
        "else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-1]) / (1024 if sys.platform != "darwin" else 1 << 20)
