"""What importing costs, and what the package shows."""

import os
import subprocess
import sys

import pytest

import toneme


def python(code, **environment):
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_takes_less_than_a_second_beyond_torch():
    timed = "import time, torch; start = time.perf_counter(); {}; print(time.perf_counter() - start)"
    assert float(python(timed.format("import toneme"))) < 1
    names = "import toneme; toneme.load, toneme.Tokens, toneme.read_audio, toneme.read_tokens, toneme.TonemeError"
    assert float(python(timed.format(names))) < 1


@pytest.mark.parametrize("code", ["import toneme", "import toneme; toneme.__version__", "import toneme.cli"])
def test_import_alone_does_not_import_torch(code):
    assert python(f"import sys; {code}; print('torch' in sys.modules, 'numpy' in sys.modules)").split() == ["False", "False"]


@pytest.mark.parametrize("line", ["--help", "--version", "", "encode --help", "stream --help", "encode --bogus"])
def test_help_and_usage_errors_do_not_import_torch(line):
    code = f"import sys; from toneme.cli import run; run({line.split()!r}); print('torch:', 'torch' in sys.modules)"
    assert python(code).endswith("torch: False\n")


def test_completion_names_codecs_and_does_not_import_torch(tmp_path):
    code = (
        "import sys, atexit; atexit.register(lambda: print('torch:', 'torch' in sys.modules))\n"
        "from pathlib import Path; from toneme.codecs import registry\n"
        f"registry.WEIGHTS = Path({str(tmp_path)!r}); from toneme.cli import run; sys.exit(run([]))"
    )
    (tmp_path / "toneme-24k").mkdir()
    (tmp_path / "toneme-24k" / "config.json").write_text("{}")
    words = {"_CODEC_COMPLETE": "complete_bash", "COMP_WORDS": "codec encode --codec to", "COMP_CWORD": "3"}
    assert python(code, **words).split() == ["toneme-24k", "torch:", "False"]


def test_every_public_name_is_there():
    for name in toneme.__all__:
        assert getattr(toneme, name) is not None
    assert set(toneme.__all__) <= set(dir(toneme))


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="has no attribute 'lode'"):
        toneme.lode  # noqa: B018


def test_errors_have_one_root():
    errors = [getattr(toneme, name) for name in toneme.__all__ if name.endswith("Error")]
    assert len(errors) == 7
    assert all(issubclass(error, toneme.TonemeError) for error in errors)
