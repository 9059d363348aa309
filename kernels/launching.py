"""Where a Triton program runs: on the GPU that holds its tensors, if there is Triton for it."""

from collections.abc import Callable
from functools import wraps
from importlib.util import find_spec
from typing import Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")
HAS_TRITON = find_spec("triton") is not None


def on_gpu(x: Tensor) -> bool:
    """Whether x lies on a GPU that Triton's programs run on; CUDA builds of PyTorch for Windows come without Triton."""
    return x.is_cuda and HAS_TRITON


def on_device_of_first(launch: Callable[Concatenate[Tensor, P], R]) -> Callable[Concatenate[Tensor, P], R]:
    """Let a function that starts Triton programs do so on the device of its first tensor, and not on the current one.

    Triton asks for the current device and its stream: with "cuda:1" it would hand that GPU's memory to a program on "cuda:0".
    """

    @wraps(launch)
    def guarded(x: Tensor, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with torch.cuda.device_of(x):
            return launch(x, *args, **kwargs)

    return guarded
