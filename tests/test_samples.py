"""The made samples: what tests and the README rely on."""

import importlib.util
from pathlib import Path

import pytest
import torch

from toneme.codecs.audio import read_audio

SHAPES = {  # file: (channels, Hz)
    "speech.wav": (1, 24_000),
    "speech_f.flac": (1, 24_000),
    "speech_de.flac": (1, 24_000),
    "speech_zh.flac": (1, 24_000),
    "music.flac": (2, 48_000),
    "strings.flac": (1, 24_000),
    "signals.flac": (1, 24_000),
}


@pytest.fixture
def make(samples: Path):
    """The module that makes the samples."""
    spec = importlib.util.spec_from_file_location("make_samples", samples / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", SHAPES)
def test_samples_have_sound_and_headroom(samples: Path, name: str) -> None:
    channels, rate = SHAPES[name]
    waveform, sample_rate = read_audio(samples / name)
    assert (waveform.shape[0], sample_rate) == (channels, rate)
    assert 2 < waveform.shape[1] / rate < 7
    assert 0.3 < float(waveform.abs().max()) < 0.75
    assert float(waveform.square().mean().sqrt()) > 0.05


def test_every_sample_is_known_and_small(samples: Path) -> None:
    files = {path.name for path in samples.iterdir() if path.suffix in (".wav", ".flac")}
    assert files == set(SHAPES)
    assert sum((samples / name).stat().st_size for name in files) < 1.5e6


def test_signals_are_their_formula(samples: Path, make) -> None:
    """Half a step of 16 bits at most; the formula must not drift from the committed file."""
    stored, _ = read_audio(samples / "signals.flac")
    torch.testing.assert_close(stored, make.signals(), rtol=0, atol=0.51 / 32768)


def test_midi_times_take_seven_bits_a_byte(make) -> None:
    """Examples of the Standard MIDI Files 1.0 specification."""
    examples = {0: "00", 0x7F: "7f", 0x80: "8100", 0x3FFF: "ff7f", 0x200000: "81808000", 0x0FFFFFFF: "ffffff7f"}
    assert {time: make.delta(time).hex() for time in examples} == examples
