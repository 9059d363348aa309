"""ONNX Runtime is loaded so that it keeps to itself."""

import os
import subprocess
import sys

import pytest

from toneme.kernels import onnx_runtime
from toneme.kernels.onnx_runtime import CPU

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


@pytest.mark.parametrize(
    ("there", "providers", "registered"),
    [(True, [CPU], 1), (False, [CPU], 0), (True, ["CUDAExecutionProvider", CPU], 0)],
)
def test_our_operators_are_there_on_the_cpu_alone(monkeypatch, there, providers, registered):
    """Elsewhere the memory is not theirs to read, and graphs have functions in their place."""
    told = []

    class Options:
        register_custom_ops_library = staticmethod(told.append)

    class Runtime:
        SessionOptions = Options
        InferenceSession = staticmethod(lambda graph, options, providers: (graph, options.intra_op_num_threads, providers))

    monkeypatch.setattr(onnx_runtime, "load_onnxruntime", lambda: Runtime)
    monkeypatch.setattr(onnx_runtime, "library", lambda: object() if there else None)
    monkeypatch.setattr(onnx_runtime, "built", lambda: "library.so")
    assert onnx_runtime.load_session("a.onnx", 3, providers) == ("a.onnx", 3, providers)
    assert told == ["library.so"] * registered
