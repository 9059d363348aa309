"""Everything runs on one device, whichever: no tensor is left on the CPU. Seen without a GPU, by pretended_device.py."""

import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration

SCRIPT = Path(__file__).parent / "pretended_device.py"


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"), reason="this PyTorch pretends no devices"
)
def test_no_tensor_is_on_another_device_than_the_module():
    done = subprocess.run([sys.executable, "-P", str(SCRIPT)], capture_output=True, text=True, timeout=900)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, "\n".join(line for line in lines if not line.endswith(": fine")) + done.stderr[-2000:]
    for kind, least in (("codec", 13), ("quantizer", 12), ("loss", 18), ("discriminator", 7)):
        assert sum(line.startswith(f"{kind} ") and line.endswith(": fine") for line in lines) >= least
