"""Two processes on gloo: gradients are those of one process with the double batch, and codebooks are the same on both."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from toneme.recipes import machines
from toneme.recipes.machines import local_device

from .runs import CRITICS, small

SETTINGS = [
    "quantizer.from_step=1", "quantizer.full_depth=1.0", "optimizer.clip=0", "steps=4", *CRITICS, "adversarial.from_step=0",
    "adversarial.share=1", "adversarial.features=mean",  # relative ones are relative to the batch of each process
]  # fmt: skip
RANK = """
import json, os, sys
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[3])
torch.set_num_threads(1)
from runs import small
audio, folder = Path(sys.argv[1]), Path(sys.argv[2])
trainer = small(audio, folder / "run", *json.loads(sys.argv[4]))
seen = trainer.take_step()
for _ in range(3):
    trainer.take_step()
rank = os.environ["RANK"]
parts = {"model": trainer.model, "critics": trainer.critics}
state = {f"{part}.{name}": value for part, module in parts.items() for name, value in module.state_dict().items()}
torch.save({"seen": seen, "state": state, "counts": trainer.model.quantizer.counts}, folder / f"{rank}.pt")
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
    expected = alone.take_step()
    for name, tolerance in (("gradient", 1e-4), ("critics_gradient", 1e-3)):  # the second is a thousand times smaller
        assert [rank["seen"][name] for rank in ranks] == pytest.approx([expected[name]] * 2, rel=tolerance)
    for name, value in ranks[0]["state"].items():
        assert torch.equal(value, ranks[1]["state"][name]), f"{name} differs between the processes"
    assert torch.equal(ranks[0]["counts"], ranks[1]["counts"])
    assert ranks[0]["counts"].std() > 0


LAST = """
from toneme.recipes import machines
rank, world = machines.join("cpu")
assert machines.any_of(rank == 1, world, machines.torch.device("cpu"))
"""


@pytest.mark.slow
def test_processes_that_end_without_leaving_the_job_do_not_abort(tmp_path):
    script = tmp_path / "last.py"
    script.write_text(LAST)
    command = [sys.executable, "-P", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    for _ in range(4):  # without the mend, three of four such jobs were aborted
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-3000:]


def test_a_process_of_a_job_takes_the_gpu_of_its_number(monkeypatch):
    assert local_device("cuda") == "cuda"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert [local_device(device) for device in ("cuda", "cuda:1", "cpu")] == ["cuda:3", "cuda:1", "cpu"]


def test_a_process_of_a_job_makes_its_gpu_the_current_one_before_it_joins(monkeypatch):
    for name, value in {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "3"}.items():
        monkeypatch.setenv(name, value)
    done: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_device", done.append)
    monkeypatch.setattr(machines.dist, "init_process_group", done.append)
    monkeypatch.setattr(machines.dist, "get_rank", lambda: 3)
    monkeypatch.setattr(machines.dist, "get_world_size", lambda: 4)
    assert machines.join("cuda") == (3, 4)
    assert machines.join("cpu") == (3, 4)
    assert done == ["cuda:3", "nccl", "gloo"]
