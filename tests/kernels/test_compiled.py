"""Every Triton kernel compiled for an H100 or H200 (sm_90), which needs no GPU: no spills, memory that fits, tensor cores."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton exists on Linux only")
MOST_SHARED = 227 * 1024


@pytest.mark.slow
def test_no_spills_fitting_memory_and_tensor_cores():
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    script = Path(__file__).parent / "compile_kernels.py"
    result = subprocess.run([sys.executable, "-P", str(script)], env=environment, capture_output=True, text=True, timeout=1200)
    assert result.returncode == 0, result.stderr[-3000:]
    reports = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(reports) == 19
    for report in reports:
        assert report["spills"] == 0, report
        assert report["shared"] <= MOST_SHARED, report
        assert not report["tensor_cores"] or report["instructions"] > 0, report
