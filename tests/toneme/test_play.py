"""`codec play`: what a player gets, and what is said where there is none."""

import os
import stat
import sys
import types

import numpy as np
import pytest
import soundfile

from toneme.cli.play import PLAYERS

from .conftest import tone


@pytest.fixture
def no_sounddevice(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)


@pytest.fixture
def player(tmp_path, monkeypatch, no_sounddevice):
    """Install one program on an otherwise empty PATH that keeps its arguments and what it was given."""

    def install(name, exit_code=0):
        folder = tmp_path / "bin"
        folder.mkdir()
        script = folder / name
        script.write_text(
            f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\n{_which("cat")} > {tmp_path}/heard\nexit {exit_code}\n'
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(folder))

    return install


def _which(program):
    return next(
        f"{folder}/{program}"
        for folder in [*os.defpath.split(":"), "/usr/bin", "/bin"]
        if os.path.exists(f"{folder}/{program}")
    )


@pytest.mark.parametrize("name", PLAYERS)
def test_programs_get_the_samples(codec, wav, player, tmp_path, name):
    path = wav(seconds=0.7, rate=16000, channels=2)
    player(name)
    ran = codec("play", path)
    assert (ran.code, ran.err) == (0, "")
    heard = np.frombuffer((tmp_path / "heard").read_bytes(), "<i2").reshape(-1, 2)
    assert np.array_equal(heard, soundfile.read(path, dtype="int16")[0])
    assert "16000" in (tmp_path / "arguments").read_text()


def test_token_files_are_decoded(codec, tok, tiny, player, tmp_path):
    assert codec("decode", tok, "-c", tiny, "-o", tmp_path / "x.wav").code == 0
    player("aplay")
    assert codec("play", tok, "-c", tiny).code == 0
    assert (tmp_path / "heard").read_bytes() == soundfile.read(tmp_path / "x.wav", dtype="int16")[0].tobytes()


def test_program_that_fails(codec, wav, player):
    player("aplay", exit_code=1)
    ran = codec("play", wav())
    assert ran.code == 1
    assert "aplay could not play (exit status 1)" in ran.sentence


def test_nothing_to_play_with(codec, wav, no_sounddevice, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    ran = codec("play", wav())
    assert ran.code == 1
    assert "sources, or install one of aplay" in ran.sentence


class Device:
    """Stands in for the package sounddevice."""

    class PortAudioError(Exception):
        pass

    def __init__(self, fails=False):
        self.heard, self.fails = b"", fails

    def __call__(self, samplerate, channels, dtype):
        if self.fails:
            raise self.PortAudioError("Error querying device -1")
        self.opened = (samplerate, channels, dtype)
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def write(self, data):
        self.heard += data


@pytest.fixture
def device(monkeypatch):
    def install(**options):
        made = Device(**options)
        module = types.SimpleNamespace(RawOutputStream=made, PortAudioError=Device.PortAudioError)
        monkeypatch.setitem(sys.modules, "sounddevice", module)
        return made

    return install


def test_sounddevice_comes_first(codec, wav, device):
    made = device()
    assert codec("play", wav(seconds=1.3)).code == 0
    assert made.opened == (24000, 1, "int16")
    assert np.abs(np.frombuffer(made.heard, "<i2") - tone(1.3)[:, 0] * 32768).max() <= 1


def test_no_loudspeaker(codec, wav, device):
    device(fails=True)
    ran = codec("play", wav())
    assert ran.code == 1
    assert "the sound device failed (Error querying device -1)" in ran.sentence


def test_missing_file(codec, device, tmp_path):
    device()
    ran = codec("play", tmp_path / "missing.wav")
    assert ran.code == 1
    assert "missing.wav" in ran.sentence
