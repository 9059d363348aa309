"""Commands: names and rates, quoting, what they wrote, and sentences where they fail."""

import struct

import pytest
import torch

from toneme.codecs.audio import read_audio
from toneme.eval import commands, measurement
from toneme.eval.commands import CommandError, coded_bytes, command_systems

from .processes import is_running, wait_until

AUDIO = 0.5 * torch.sin(torch.arange(8000) / 10)


def test_names_rates_and_labels():
    systems = command_systems("opus@6,12.5: enc -b {kbps} {in} {out} && dec {out} {wav}")
    assert [(s.name, s.label, s.kbps) for s in systems] == [("opus", "opus 6", 6.0), ("opus", "opus 12.5", 12.5)]
    assert [s.label for s in command_systems("enc {kbps} {in} {wav}", [3.0])] == ["enc 3"]
    assert [s.label for s in command_systems("/usr/bin/enc {in} {wav}", [3.0])] == ["enc"]
    assert len({s.identity for s in systems}) == 2


def test_a_program_that_changed_is_another_system(tmp_path):
    program, command = tmp_path / "enc.sh", f"enc: sh {tmp_path / 'enc.sh'} {{in}} {{wav}}; true"
    identities = []
    for text in ("cp $1 $2", "cp $1 $2", "cp $1 $2 && true"):
        program.write_text(text)
        identities.append(command_systems(command)[0].identity)
    assert identities[0] == identities[1] != identities[2]
    assert command_systems("enc: sh 'unclosed {in} {wav}")[0].name == "enc"


@pytest.mark.parametrize(
    ("text", "why"),
    [("enc {in} {out}", "has no {wav}"), ("enc {wav}", "has no {in}"), ("enc {kbps} {in} {wav}", "no rate"), ("", "no {in}")],
)
def test_missing_places_are_said(text, why):
    with pytest.raises(CommandError, match=why):
        command_systems(text)


def test_a_command_is_run_and_its_output_counted():
    (system,) = command_systems("copy: cp {in} {wav} && printf 12345 > {out}.bin && printf ${#HOME} > /dev/null")
    rebuilt = system.rebuild(AUDIO, 8000, "cpu")
    assert (rebuilt.sample_rate, rebuilt.bits) == (8000, 40)
    torch.testing.assert_close(rebuilt.audio, AUDIO, atol=1e-4, rtol=0)
    assert rebuilt.seconds >= 0


def test_places_are_quoted(tmp_path):
    (system,) = command_systems("copy: cp {in} {wav}")
    odd = tmp_path / "it's; $(touch x) &"
    assert system.fill(odd, odd, odd).count("'\"'\"'") == 2


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("bad: no-such-program-here {in} {wav}", "'bad' failed with status 127 .*not found"),
        ("bad: echo first >&2; echo last words >&2; exit 3; : {in} {wav}", r"status 3 \(last words\)"),
        ("bad: true {in} {wav}", "wrote no {wav}"),
        ("bad: echo {in} > {wav}", "wrote no audio"),
        ("bad: head -c 44 {in} > {wav}", "wrote no samples|wrote no audio"),
    ],
)
def test_failures_are_one_sentence(command, why):
    (system,) = command_systems(command)
    with pytest.raises(CommandError, match=why) as caught:
        system.rebuild(AUDIO, 8000, "cpu")
    assert "\n" not in str(caught.value)


def test_a_command_that_takes_too_long_is_stopped_with_all_that_it_started(monkeypatch, tmp_path):
    monkeypatch.setattr(commands, "LONGEST", 1.0)
    (system,) = command_systems(f"slow: sleep 300 & echo $! > {tmp_path / 'pid'}; wait; cp {{in}} {{wav}}")
    with pytest.raises(CommandError, match="'slow' was stopped after 1 s"):
        system.rebuild(AUDIO, 8000, "cpu")
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: not is_running(pid))


def test_times_and_peaks_are_left_out_where_the_system_does_not_tell(monkeypatch):
    monkeypatch.setattr(commands, "resource", None)
    monkeypatch.setattr(measurement, "resource", None)
    (system,) = command_systems("copy: cp {in} {wav}")
    rebuilt = system.rebuild(AUDIO, 8000, "cpu")
    assert (rebuilt.seconds, len(rebuilt.audio)) == (0.0, 8000)
    assert measurement._peak(system, AUDIO, 8000, "cpu") is None


def test_of_ogg_opus_only_packets_count():
    def page(body):
        return b"OggS" + bytes(22) + struct.pack("B", 1) + bytes([len(body)]) + body

    file = page(b"OpusHead" + bytes(11)) + page(b"OpusTags" + bytes(40)) + page(bytes(100)) + page(bytes(50))
    assert coded_bytes(file) == 150
    assert coded_bytes(bytes(70)) == 70


def test_opus_itself_when_it_is_installed(samples):
    import shutil

    if not shutil.which("opusenc"):
        pytest.skip("opus-tools is not installed: real Opus cannot be run")
    (system,) = command_systems("opus@12: opusenc --quiet --bitrate {kbps} {in} {out} && opusdec --quiet {out} {wav}")
    waveform, rate = read_audio(samples / "speech.wav")
    rebuilt = system.rebuild(waveform[0], rate, "cpu")
    assert 8 < rebuilt.bits / (len(waveform[0]) / rate) / 1000 < 16
