"""ONNX Runtime is loaded so that it keeps to itself."""

import os
import subprocess
import sys

import pytest

LOADED = """
import os
from toneme.kernels.onnx_runtime import load_onnxruntime

load_onnxruntime().SessionOptions()
print(os.environ["ORT_DISABLE_TELEMETRY"])
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home; nobody has said anything about reports."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def loaded() -> str:
    return subprocess.run([sys.executable, "-P", "-c", LOADED], capture_output=True, text=True, check=True).stdout


def test_reports_nothing_and_leaves_no_identifier(home):
    assert loaded() == "1\n"
    assert not os.listdir(home)


def test_what_the_user_has_said_holds(home, monkeypatch):
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "true")
    assert loaded() == "true\n"
