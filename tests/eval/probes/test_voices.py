"""Voices: how a synthesizer is told what to say, what is refused, what is drawn."""

from random import Random

import pytest
import torch

from toneme.codecs.audio import write_audio
from toneme.codecs.errors import TonemeError
from toneme.eval.commands import CommandError
from toneme.eval.probes.voices import (
    ACCENTS,
    ESPEAK,
    PITCHES,
    SPEEDS,
    VARIANTS,
    Synthesizer,
    Voice,
    check_espeak,
    draw_voices,
    vary,
)


@pytest.fixture
def voice(tmp_path):
    write_audio(tmp_path / "a b.wav", torch.full((2, 400), 0.25), 8000)
    return Voice(str(tmp_path / "a b.wav"), 150, 40)


def test_a_command_is_told_voice_text_speed_and_pitch(voice, tmp_path):
    log = tmp_path / "said"
    speech, rate = Synthesizer(f"cp {{voice}} {{wav}}; echo {{speed}} {{pitch}} {{text}} > {log}").speak(
        "it's $HOME; ls", voice
    )
    assert (rate, list(speech.shape)) == (8000, [400])
    assert log.read_text() == "150 40 it's $HOME; ls\n"


@pytest.mark.parametrize("place", ["voice", "text", "wav"])
def test_a_command_without_a_place_is_refused(place):
    with pytest.raises(CommandError, match=rf"no {{{place}}}"):
        Synthesizer(ESPEAK.replace(f"{{{place}}}", "x"))


@pytest.mark.parametrize(
    ("command", "why"),
    [("no-such-program {voice} {text} {wav}", "not found"), ("true {voice} {text} {wav}", "wrote no {wav}")],
)
def test_a_command_that_fails_is_told(voice, command, why):
    with pytest.raises(CommandError, match=why):
        Synthesizer(command).speak("a", voice)


def test_espeak_must_be_there_and_know_the_voices(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TonemeError, match="espeak-ng is not installed: apt-get install"):
        check_espeak()
    program = tmp_path / "espeak-ng"
    program.write_text("#!/bin/sh\n" + "".join(f"echo ' 5 variant --/F {name} !v/{name} '\n" for name in VARIANTS))
    program.chmod(0o755)
    check_espeak()
    program.write_text(program.read_text().replace("!v/belinda ", ""))
    with pytest.raises(TonemeError, match=r"no voice belinda: install version 1\.51"):
        check_espeak()


def test_voices_follow_the_draw():
    voices = draw_voices([], Random(3))
    assert voices == draw_voices([], Random(3)) != draw_voices([], Random(4))
    assert [voice.name.split("+")[1] for voice in voices] == list(VARIANTS)
    assert {voice.name.split("+")[0] for voice in voices} == set(ACCENTS)
    assert all(SPEEDS[0] <= v.speed <= SPEEDS[1] and PITCHES[0] <= v.pitch <= PITCHES[1] for v in voices)
    assert [voice.name for voice in draw_voices(["x", "y"], Random(3))] == ["x", "y"]


def test_a_voice_varies_within_a_twentieth():
    draw, voice = Random(0), Voice("x", 160, 50)
    varied = [vary(voice, draw) for _ in range(100)]
    assert min(v.speed for v in varied) in (152, 153)
    assert max(v.speed for v in varied) in (167, 168)
    assert {v.pitch for v in varied} >= {48, 50, 52}
    assert {v.name for v in varied} == {"x"}
