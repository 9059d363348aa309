"""Make the audio of this folder again: speech by espeak-ng, music by fluidsynth with FluidR3, signals by formula.

    sudo apt-get install espeak-ng fluidsynth fluid-soundfont-gm
    python -P samples/make.py

The same versions of the programs (README.md) give the same bytes; `tests/test_samples.py` checks what the tests rely on.
"""

import math
import random
import struct
import subprocess
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from toneme.codecs.audio import read_audio, write_audio

FOLDER = Path(__file__).parent
SOUND_FONT = "/usr/share/sounds/sf2/FluidR3_GM.sf2"
TICKS = 480  # of a MIDI file per quarter note, which lasts half a second
SPEECH = {  # file: (voice, words per minute, text)
    "speech.wav": (
        "en-us", 165, "A neural codec turns this sentence into a short list of numbers, and those numbers back into speech."
    ),
    "speech_f.flac": ("en-gb+f3", 160, "Seven quiet judges measured the vague pleasure of a deep fresh breeze."),
    "speech_de.flac": ("de+m3", 150, "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich."),
    "speech_zh.flac": ("cmn+f2", 190, "今天天气很好。我们去听音乐。"),
}  # fmt: skip


def speak(voice: str, speed: int, text: str) -> Tensor:
    """Return speech [1, samples] at 24 kHz with a peak of 0.7."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        subprocess.run(["espeak-ng", "-v", voice, "-s", str(speed), "-w", str(path), text], check=True)
        return level(read_audio(path, sample_rate=24_000, channels=1)[0])


def play(events: list[tuple[int, bytes]], seconds: float, sample_rate: int) -> Tensor:
    """Return music [2, samples] of timed MIDI events with a peak of 0.7."""
    with tempfile.TemporaryDirectory() as folder:
        score, path = Path(folder) / "score.mid", Path(folder) / "music.wav"
        score.write_bytes(midi_file(events))
        command = ["fluidsynth", "-ni", "-q", "-g", "0.5", "-r", str(sample_rate), "-F", str(path), SOUND_FONT, str(score)]
        subprocess.run(command, check=True)
        music = read_audio(path, sample_rate)[0]
    return level(music[:, : round(seconds * sample_rate)])


def midi_file(events: list[tuple[int, bytes]]) -> bytes:
    """Return a Standard MIDI File of one track; times are in ticks."""
    track, now = b"", 0
    for time, message in sorted(events, key=lambda event: event[0]):
        track += delta(time - now) + message
        now = time
    track += delta(TICKS) + b"\xff\x2f\x00"
    return struct.pack(">4sIHHH4sI", b"MThd", 6, 0, 1, TICKS, b"MTrk", len(track)) + track


def delta(ticks: int) -> bytes:
    """Return a time in the variable-length form of MIDI: seven bits a byte, the highest first."""
    groups = [ticks & 0x7F]
    while ticks := ticks >> 7:
        groups.insert(0, ticks & 0x7F | 0x80)
    return bytes(groups)


def note(channel: int, pitch: int, start: float, length: float, loudness: int) -> list[tuple[int, bytes]]:
    """Return the events of one note; times in quarter notes."""
    on, off = round(start * TICKS), round((start + length) * TICKS)
    return [(on, bytes([0x90 | channel, pitch, loudness])), (off, bytes([0x80 | channel, pitch, 0]))]


def band(seed: int) -> list[tuple[int, bytes]]:
    """Compose two bars of chords, bass, melody and drums: electric piano, fretless bass, flute, kit."""
    rng = random.Random(seed)
    events = [(0, bytes([0xC0 | channel, program])) for channel, program in enumerate((4, 35, 73))]
    for bar, root in enumerate((57, 53)):
        for step in (0, 4, 7, 11):
            events += note(0, root + step, 4 * bar, 3.8, 70)
        for beat in range(4):
            events += note(1, root - 24 + rng.choice((0, 7, 12)), 4 * bar + beat, 0.9, 90)
            events += note(9, 36 if beat % 2 == 0 else 38, 4 * bar + beat, 0.2, 100)
            events += note(9, 42, 4 * bar + beat + 0.5, 0.2, 70)
        for half in range(8):
            events += note(2, root + 12 + rng.choice((0, 2, 4, 7, 9, 11)), 4 * bar + half / 2, 0.45, rng.randrange(60, 100))
    return events


def strings(seed: int) -> list[tuple[int, bytes]]:
    """Compose a slow chorale for string ensemble and trumpet."""
    rng = random.Random(seed)
    events = [(0, bytes([0xC0, 48])), (0, bytes([0xC1, 56]))]
    for bar, chord in enumerate(((50, 57, 62, 66), (55, 59, 62, 67), (57, 61, 64, 69))):
        for pitch in chord:
            events += note(0, pitch, 2 * bar, 2, 80)
        for half in range(4):
            events += note(1, rng.choice(chord) + 12, 2 * bar + half / 2, 0.5, 75)
    return events


def signals(sample_rate: int = 24_000) -> Tensor:
    """Return half a second each of: sweep 50 Hz to 11 kHz, chord of sines, pulses, noise, silence; [1, samples]."""
    n = sample_rate // 2
    t = torch.arange(n, dtype=torch.float64) / sample_rate
    growth = math.log(11_000 / 50)
    sweep = torch.sin(2 * math.pi * 50 * 0.5 / growth * ((t * growth / 0.5).exp() - 1))
    chord = sum(torch.sin(2 * math.pi * pitch * t) for pitch in (220.0, 277.2, 329.6)) / 3
    pulses = (torch.arange(n) % 240 == 0).double()
    noise = torch.rand(n, generator=torch.Generator().manual_seed(7), dtype=torch.float64) - 0.5
    return 0.5 * torch.cat([sweep, chord, pulses, noise, torch.zeros(n)])[None].float()


def level(waveform: Tensor, peak: float = 0.7) -> Tensor:
    """Return audio scaled to a peak."""
    return waveform * (peak / waveform.abs().max())


def main() -> None:
    """Write every sample."""
    for name, (voice, speed, text) in SPEECH.items():
        write_audio(FOLDER / name, speak(voice, speed, text), 24_000)
    write_audio(FOLDER / "music.flac", play(band(1), 4.0, 48_000), 48_000)
    write_audio(FOLDER / "strings.flac", play(strings(2), 3.5, 24_000).mean(0, keepdim=True), 24_000)
    write_audio(FOLDER / "signals.flac", signals(), 24_000)


if __name__ == "__main__":
    main()
