"""The Triton kernels under the interpreter, in a child process: it must be chosen before Triton is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton exists on Linux only")
FILES = sorted(Path(__file__).parent.glob("test_*_triton.py"))


def test_there_are_tests_of_every_kernel():
    kernels = {path.name for path in (Path(__file__).parents[2] / "kernels").glob("*_triton.py")}
    assert {path.name for path in FILES} == {f"test_{name}" for name in kernels}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_under_the_interpreter(file):
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider", str(file)]
    result = subprocess.run(command, env=environment, cwd=file.parents[2], capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-1000:]
    assert " passed" in result.stdout
    assert " skipped" not in result.stdout
