"""The command as a whole: help, exit codes, and what becomes of errors that nobody foresaw."""

import errno
import os
import re
import subprocess
import sys
import tempfile

import pytest

import toneme
from toneme.cli import failures

COMMANDS = ["encode", "decode", "info", "list", "roundtrip", "play", "convert", "stream"]


def break_with(monkeypatch, error):
    def broken(*args, **options):
        raise error

    monkeypatch.setattr("toneme.codecs.registry.list_codecs", broken)


def test_help_names_every_command(codec):
    for line in (["--help"], ["-h"]):
        ran = codec(*line)
        assert ran.code == 0
        assert [word for word in COMMANDS if word not in ran.out.decode()] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(codec, command):
    ran = codec(command, "--help")
    assert ran.code == 0
    assert f"codec {command}" in ran.out.decode()


def test_version(codec):
    assert codec("--version").out.decode() == f"codec {toneme.__version__}\n"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["encoed"], "No such command 'encoed'"),
        (["encode"], "Missing argument"),
        (["encode", "a.wav", "--bogus"], r"No such option:? '?--bogus"),
        (["--bogus"], r"No such option:? '?--bogus"),
        (["encode", "a.wav", "--codebooks", "many"], "--codebooks"),
        (["convert", "x.th"], "Missing option"),
        (["encode", "-", "a.wav"], r"- \(stdin\) goes alone"),
    ],
)
def test_usage_errors_are_one_line_and_exit_with_2(codec, line, words):
    ran = codec(*line)
    assert ran.code == 2
    assert re.search(words, ran.sentence)
    assert "--help`" in ran.sentence
    assert ran.out == b""


def test_no_command_shows_the_help(codec):
    ran = codec()
    assert ran.code in (0, 2)
    assert "encode" in ran.out.decode() + ran.err


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), "/x/y: no space is left on the device; free some"),
        (PermissionError(errno.EACCES, "Permission denied", "/x/y"), "/x/y: permission denied; check who owns it"),
        (OSError(errno.EIO, "Input/output error"), "check the disk"),
        (OSError(errno.ENODEV, "No such device", "/x"), "/x: No such device; check the path"),
        (MemoryError(), "out of memory: use --device cpu"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory: use --device cpu"),
        (toneme.AudioError("first line\nsecond line"), "codec: first line second line"),
    ],
)
def test_errors_are_one_sentence(codec, monkeypatch, error, words):
    break_with(monkeypatch, error)
    ran = codec("list")
    assert ran.code == 1
    assert words in ran.sentence


def test_a_machine_without_a_folder_for_temporary_files_is_told_of(codec, monkeypatch, tmp_path):
    """PyTorch asks for one while it is imported, so that every command ends where all is read-only."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "missing")])
    with pytest.raises(FileNotFoundError) as told:
        tempfile.gettempdir()
    break_with(monkeypatch, told.value)
    assert "no folder for temporary files can be written to" in codec("list").sentence


def test_a_bug_is_one_sentence_too(codec, monkeypatch):
    break_with(monkeypatch, TypeError("int is not\niterable"))
    ran = codec("list")
    assert ran.code == 1
    assert ran.err.count("\n") == 1
    assert "unexpected TypeError (int is not iterable): this is a bug; set TONEME_DEBUG=1" in ran.err


def test_debugging_shows_the_traceback(codec, monkeypatch):
    monkeypatch.setenv("TONEME_DEBUG", "1")
    break_with(monkeypatch, TypeError("int"))
    ran = codec("list")
    assert ran.code == 1
    assert "Traceback" in ran.err


def test_interrupt(codec, monkeypatch):
    break_with(monkeypatch, KeyboardInterrupt())
    ran = codec("list")
    assert ran.code == 130
    assert "interrupted" in ran.sentence


def test_reader_that_went_away(codec, monkeypatch):
    break_with(monkeypatch, BrokenPipeError(errno.EPIPE, "Broken pipe"))
    ran = codec("list")
    assert (ran.code, ran.err) == (1, "")


def test_broken_pipe_is_silent_in_a_process_of_its_own(tiny):
    code = f"from toneme.cli import main; import sys; sys.argv = ['codec', 'info', {str(tiny)!r}]; main()"
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-P", "-c", code], stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


def by_shell(line, **options):
    """Run `codec` by a shell, which closes what `line` says."""
    command = [*("sh", "-c", f'exec "$0" -P -m toneme {line}'), sys.executable]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, **options)


def test_the_package_runs_as_a_module():
    done = by_shell("--version")
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, f"codec {toneme.__version__}\n", b"")


@pytest.mark.parametrize("line", ["--version >&-", "list >&-", "--help >/dev/full", "--version >/dev/full", "list >/dev/full"])
def test_a_stdout_that_takes_nothing_is_one_sentence(line):
    if "/dev/full" in line and not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    done = by_shell(line)
    said = done.stderr.decode()
    assert done.returncode == 1
    assert said.startswith("codec: ")
    assert said.count("\n") == 1
    assert ("closed" if "&-" in line else "no space") in said


def test_a_closed_stdin_is_one_sentence(tiny, tmp_path):
    done = by_shell(f"encode - -c '{tiny}' -o '{tmp_path}/a.tok' <&-")
    said = done.stderr.decode()
    assert (done.returncode, said.count("\n"), "bug" in said) == (1, 1, False)
    assert said.startswith("codec: ")


def test_complaints_are_dropped_where_stderr_is_closed():
    done = by_shell("encoed 2>&-")
    assert (done.returncode, done.stdout) == (2, b"")


def test_no_file_takes_the_number_of_a_closed_stream():
    code = "import os; from toneme.cli.failures import open_streams as o; o(); os._exit(os.open(os.devnull, os.O_RDONLY))"
    done = subprocess.run(["sh", "-c", 'exec "$0" -P -c "$1" <&- >&- 2>&-', sys.executable, code], check=False)
    assert done.returncode == 3


def test_names_that_the_terminal_cannot_write_are_spelt(tok, tmp_path):
    os.link(tok, tmp_path / "\u4e2d.tok")
    done = by_shell(f"info '{tmp_path}/\u4e2d.tok'", env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"\u4e2d.tok" in done.stdout


def test_remedies_are_for_errors_that_exist():
    assert all(number in errno.errorcode for number in failures.REMEDIES)


def test_progress_is_for_terminals_only(monkeypatch, capsys):
    from toneme.cli.progress import progress

    with progress("x", 10) as advance:
        advance(10)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress("speech.wav", 10) as advance:
        advance(10)
    seen = capsys.readouterr()
    assert "speech.wav" in seen.err
    assert "100%" in seen.err
    assert seen.out == ""
