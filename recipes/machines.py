"""The processes of a job under torchrun: who is who, sums over all, and gradients that agree.

Gradients are averaged in one flat piece after the backward pass rather than by hooks during it: parts of the model are left
out on some steps (the quantizer at first, the discriminators later), and steps of several batches need no exception.
"""

import atexit
import os
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch import distributed as dist


def join(device: str) -> tuple[int, int]:
    """Join the job that torchrun started, if any, and return this process' rank and how many there are."""
    if "RANK" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return 0, 1
    if (own := local_device(device)).startswith("cuda:"):
        torch.cuda.set_device(own)  # or else every process keeps memory on the first GPU as well, and NCCL guesses its own
    if not dist.is_initialized():
        backend = "nccl" if device.startswith("cuda") else "gloo"
        dist.init_process_group(backend)
        if backend == "gloo":  # its threads abort a process that ends without having left; NCCL's leaving may wait for others
            atexit.register(leave)
    return dist.get_rank(), dist.get_world_size()


def leave() -> None:
    """Leave the job."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def local_device(device: str) -> str:
    """Return the device of this process: under torchrun each has a GPU of its own."""
    local = os.environ.get("LOCAL_RANK")
    return f"cuda:{local}" if device == "cuda" and local is not None else device


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter], world: int) -> None:
    """Replace gradients by their mean over all processes; a parameter without one counts as zeros."""
    if world == 1:
        return
    learned = [p for p in parameters if p.requires_grad]
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in learned]
    flat = torch.cat([grad.flatten() for grad in grads])
    dist.all_reduce(flat)
    flat /= world
    for p, part in zip(learned, flat.split([grad.numel() for grad in grads]), strict=True):
        p.grad = part.view_as(p).clone()


def any_of(flag: bool, world: int, device: torch.device) -> bool:
    """Return whether the flag is set on any process."""
    if world == 1:
        return flag
    told = torch.tensor(int(flag), device=device)
    dist.all_reduce(told, dist.ReduceOp.MAX)
    return bool(told)


def mean_of(values: dict[str, float], world: int, device: torch.device) -> dict[str, float]:
    """Return the mean of each value over all processes, which have the same keys."""
    if world == 1:
        return values
    told: Tensor = torch.tensor(list(values.values()), dtype=torch.float64, device=device)
    dist.all_reduce(told)
    return dict(zip(values, (told / world).tolist(), strict=True))
