"""The GPU's benchmark without one: what it does where a case or the process fails, and where nothing is installed."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("triton", reason="Triton exists on Linux only")
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"
BARE = """
import runpy, sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in getattr(finder, "__module__", repr(finder))]
sys.path[:] = [entry for entry in sys.path if not entry.startswith("__editable__")]
sys.path_hooks[:] = [hook for hook in sys.path_hooks if "editable" not in repr(hook)]
sys.path_importer_cache.clear()
import importlib.util
assert importlib.util.find_spec("toneme") is None, "this says nothing: toneme is still found"
sys.modules["vector_quantize_pytorch"] = None  # as if it were not installed
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_of_gpu", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def child(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


@pytest.mark.parametrize(
    ("end", "rows", "status"),
    [
        ("", ["| a", "| b", "| c"], 0),
        ("import os; os._exit(7)", ["| a", "| b | FAILED: the process ended with status 7 | | | |", "| c"], 1),
        ("print('| b'); sys.exit(1)", ["| a", "| b", "| c"], 1),  # an illegal access ends the process after its row
    ],
)
def test_the_cases_after_one_that_ends_the_process_are_measured_still(gpu, end, rows, status):
    def start(names: list[str]) -> list[str]:
        return child(
            f"import sys\nprint('| heading', flush=True)\nfor name in {names}:\n"
            f"    print({gpu.BEGINS!r}, name, flush=True)\n"
            f"    if name == 'b':\n        {end or 'pass'}\n"
            "    print('|', name, flush=True)\n"
        )

    told: list[str] = []
    assert gpu.supervise(start, ["a", "b", "c"], told.append) == status
    assert [line.strip() for line in told] == ["| heading", *rows]


def test_a_process_that_does_not_get_to_a_case_is_not_started_again(gpu):
    told: list[str] = []
    assert gpu.supervise(lambda names: child("raise SystemExit(3)"), ["a", "b"], told.append) == 1
    assert told == ["the process ended with status 3 before the first case\n"]


def test_a_case_that_raises_is_a_row(gpu, monkeypatch):
    def broken() -> None:
        raise RuntimeError("out of | shared\nmemory")

    monkeypatch.setitem(gpu.CASES, "broken", broken)
    assert gpu.measure("broken", 1, 1.0, 1.0) == ("| broken | FAILED: RuntimeError: out of / shared | | | |", False)


def test_peers_that_are_missing_or_fail_are_cells(gpu, monkeypatch):
    monkeypatch.setattr(gpu, "milliseconds", lambda task: task())

    def broken() -> float:
        raise RuntimeError("no compiler")

    ours = "| x | 1.000 | 2.000 (2.0 floors) | "
    case = gpu.Case("x", lambda: 2.0, lambda: True, None, 0, 1e-3, broken)
    assert gpu.row(case, 2, 1.0, 1.0) == ours + "not installed | failed: RuntimeError: no compiler |"
    case = gpu.Case("x", lambda: 2.0, lambda: True, lambda: 6.0, 0, 1e-3)
    assert gpu.row(case, 2, 1.0, 1.0) == ours + "6.000 (3.0x) | - |"


def test_rows_are_kept_as_they_come(gpu, tmp_path, capsys):
    tell = gpu.teller(tmp_path / "rows.md")
    tell("| a |\n")
    assert (tmp_path / "rows.md").read_text() == "| a |\n"
    tell("| b |\n")
    assert (tmp_path / "rows.md").read_text() == capsys.readouterr().out == "| a |\n| b |\n"


@pytest.mark.slow
def test_runs_where_neither_the_package_nor_a_peer_is_installed(tmp_path):
    command = [sys.executable, "-P", "-c", BARE, str(SCRIPT), "--dry", "--cases", "decode", "training"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = done.stdout.splitlines()
    assert first.startswith("decode: right: ")
    assert second.startswith("training: right: ")
    assert second.endswith("| not installed | - |")
