"""`codec eval` as users start it: a report of a codec and a command, usage errors, failures in one sentence."""

import json
import shutil

import pytest

LIGHT = "log_spectral,mel_distance,delay"
COPY = "copy@3,6: cp {in} {wav} && head -c {kbps}00 {in} > {out}"


@pytest.fixture
def data(wav):
    wav("data/speech/a.wav", 0.6)
    return wav("data/music/b.wav", 0.5, rate=48000, channels=2).parents[1]


def test_a_codec_and_a_command_get_a_report(codec, tiny, data, tmp_path):
    line = ["eval", tiny, "--data", data, "-o", tmp_path / "out", "-n", "1,8", "--metrics", LIGHT, "-j", 1, "--command", COPY]
    ran = codec(*line, "--markdown", tmp_path / "table.md", "--json")
    assert ran.code == 0, ran.err
    content = json.loads(ran.out)
    assert {row["system"] for row in content["rows"]} == {"tiny x1", "tiny x8", "copy 3", "copy 6"}
    assert {row["domain"] for row in content["rows"]} == {"speech", "music", "all"}
    figures = {(r["system"], r["domain"], r["metric"]): r["mean"] for r in content["rows"]}
    assert figures["copy 3", "speech", "log_spectral"] < 0.1
    assert figures["copy 3", "all", "delay"] == 0
    assert figures["tiny x1", "all", "mel_distance"] > 0.1
    rates = {(r["system"], r["domain"]): r["kbps"] for r in content["rows"]}
    assert rates["copy 6", "all"] == pytest.approx(8 * 1200 / 1.1 / 1000)
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000
    assert "| tiny x8 |" in (tmp_path / "table.md").read_text()
    again = codec(*line)
    assert again.code == 0
    assert "36 figures" in again.out.decode()


def test_a_beam_is_a_system_of_its_own_and_of_reconstruction_alone(codec, tiny, data, tmp_path):
    line = ["eval", tiny, "--data", data, "-o", tmp_path / "out", "-n", "1,8", "--beam", 4, "--metrics", LIGHT, "-j", 1]
    ran = codec(*line, "--suite", "reconstruction,tokens", "--json")
    assert ran.code == 0, ran.err
    rows = json.loads(ran.out)["rows"]
    figures = {row["system"]: row["mean"] for row in rows if (row["domain"], row["metric"]) == ("all", "mel_distance")}
    assert set(figures) == {"tiny x1", "tiny x8", "tiny beam 4 x1", "tiny beam 4 x8"}
    assert figures["tiny beam 4 x1"] == figures["tiny x1"]  # one codebook has nothing to choose
    assert figures["tiny beam 4 x8"] != figures["tiny x8"]
    assert {row["system"] for row in rows if row["suite"] == "tokens"} == {"tiny x8"}


def test_suites_can_be_joined(codec, tiny, data, tmp_path):
    ran = codec(
        "eval",
        tiny,
        "--data",
        data,
        "-o",
        tmp_path,
        "-n",
        "2",
        "--suite",
        "tokens,reconstruction",
        "--metrics",
        "si_sdr",
        "-j",
        1,
    )
    assert ran.code == 0, ran.err
    assert "stays at one-sample shift" in (tmp_path / "report.html").read_text()


def test_a_codec_whose_weights_are_elsewhere_is_a_row_that_says_so(codec, data, tmp_path):
    line = ["eval", "encodec-24khz", "--command", COPY, "--data", data, "-o", tmp_path / "out", "--metrics", "delay", "-j", 1]
    ran = codec(*line, "--examples", 0, "--markdown", tmp_path / "table.md")
    assert ran.code == 0, ran.err
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    (note,) = [row["note"] for row in rows if row["system"] == "encodec-24khz"]
    assert note.startswith("weights not available (encodec-24khz is no packaged codec")
    assert "| encodec-24khz | - | weights not available |" in (tmp_path / "table.md").read_text()
    alone = codec("eval", "encodec-24khz", "--data", data, "-o", tmp_path / "alone")
    assert alone.code == 1
    assert "weights not available" in alone.sentence


def test_two_codecs_of_one_name_are_called_by_their_folders(codec, tiny, other, data, tmp_path):
    line = ["eval", tiny, other, "--data", data / "speech", "-o", tmp_path / "out", "-n", "1", "--metrics", "delay", "-j", 1]
    ran = codec(*line, "--examples", 0, "--json")
    assert ran.code == 0, ran.err
    assert {row["system"] for row in json.loads(ran.out)["rows"]} == {f"{tiny} x1", f"{other} x1"}
    assert {row["codec"] for row in json.loads(ran.out)["rows"]} == {str(tiny), str(other)}


def test_decoded_audio_is_a_system_and_a_clip_that_cannot_be_read_is_counted(codec, data, tmp_path):
    shutil.copytree(data, tmp_path / "decoded")
    (data / "music" / "a.wav").write_bytes(b"no audio at all")  # the first of all clips
    line = ["eval", f"mine@6: {tmp_path / 'decoded'}", "--command", "copy: cp {in} {wav}", "--data", data, "-j", 1]
    ran = codec(*line, "-o", tmp_path / "out", "--metrics", "mel_distance", "--json")
    assert ran.code == 0, ran.err
    assert "warning: 2 values could not be computed" in ran.err
    rows = {(row["system"], row["domain"]): row for row in json.loads(ran.out)["rows"]}
    for system, kbps in (("mine 6", 6), ("copy", None)):
        assert rows[system, "all"]["mean"] < 0.2  # the command reads 16 bits
        assert (rows[system, "all"]["clips"], rows[system, "all"]["failures"]) == (2, 1)
        assert rows[system, "all"]["kbps"] == pytest.approx(kbps)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ([], "name a codec, or a command"),
        (["x", "-n", "0"], "positive numbers"),
        (["x", "-b", "a,b"], "positive numbers"),
        (["x", "-b", "1", "-n", "1"], "either --codebooks or --bitrate"),
        (["--command", "a: x {in} {wav}", "--command", "a: y {in} {wav}"], "two systems are called a"),
    ],
)
def test_usage_errors(codec, data, options, why):
    ran = codec("eval", "--data", data, *options)
    assert ran.code == 2
    assert why in ran.sentence


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["no-such-codec"], "no codec or folder is called"),
        (["--command", "x {in}"], "has no {wav}"),
        (["--command", "x {in} {wav}", "--suite", "taste"], "no suite is called 'taste'"),
        (["--command", "x {in} {wav}", "--metrics", "taste"], "no metric is called 'taste'"),
        (["--command", "x {in} {wav}", "--markdown", "no/such/folder/table.md"], "cannot be written"),
        (["--command", "x {in} {wav}", "--suite", "tokens"], "nothing could be evaluated: no tokens"),
    ],
)
def test_what_cannot_be_is_one_sentence(codec, data, tmp_path, options, why):
    ran = codec("eval", "--data", data, "-o", tmp_path / "out", *options)
    assert ran.code == 1
    assert why in ran.sentence


def test_a_command_that_always_fails_ends_with_its_reason(codec, data, tmp_path):
    line = ["eval", "--data", data, "-o", tmp_path / "out", "--metrics", "si_sdr", "-j", 1]
    ran = codec(*line, "--command", "bad: echo broken >&2; false {in} {wav}")
    assert ran.code == 1
    assert "nothing could be evaluated: the command 'bad' failed with status 1 (broken)" in ran.sentence
