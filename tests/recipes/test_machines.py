"""Two processes on gloo: gradients are those of one process with the double batch, and codebooks are the same on both."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from .runs import small

SETTINGS = ["quantizer.from_step=1", "quantizer.full_depth=1.0", "optimizer.clip=0", "steps=4"]
RANK = """
import json, os, sys
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[3])
torch.set_num_threads(1)
from runs import small
audio, folder = Path(sys.argv[1]), Path(sys.argv[2])
trainer = small(audio, folder / "run", *json.loads(sys.argv[4]))
gradient = trainer.take_step()["gradient"]
for _ in range(3):
    trainer.take_step()
rank = os.environ["RANK"]
state = {"model": trainer.model.state_dict(), "counts": trainer.model.quantizer.counts}
torch.save({"gradient": gradient, **state}, folder / f"{rank}.pt")
"""


def two_processes(audio: Path, folder: Path, *settings: str) -> list[dict]:
    """Run the same recipe in two processes and return what each ended with."""
    script = folder / "rank.py"
    script.write_text(RANK)
    command = [sys.executable, "-P", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    given = [str(audio), str(folder), str(Path(__file__).parent), json.dumps([*SETTINGS, *settings])]
    done = subprocess.run([*command, *given], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.slow
def test_two_processes_learn_what_one_with_the_double_batch_does(audio, tmp_path):
    ranks = two_processes(audio, tmp_path)
    alone = small(audio, tmp_path / "alone", *SETTINGS, "batch=4")
    gradient = alone.take_step()["gradient"]
    for rank in ranks:
        assert rank["gradient"] == pytest.approx(gradient, rel=1e-4)
    for name, value in ranks[0]["model"].items():
        assert torch.equal(value, ranks[1]["model"][name]), f"{name} differs between the processes"
    assert torch.equal(ranks[0]["counts"], ranks[1]["counts"])
    assert ranks[0]["counts"].std() > 0
