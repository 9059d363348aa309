"""Loops of many short calls that run without the interpreter's lock, so that threads do not wait for it between two calls.

TorchScript's interpreter holds no lock. PyTorch names `torch.export` as its successor, which has nothing for threads; so what
is compiled is plain Python as well, and that is what runs where TorchScript is gone, or cannot read the source, as in a frozen
program.
"""

import warnings
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch


class Unlocked:
    """A function of tensors, of the part of Python that TorchScript reads, which is compiled at its first call."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *args: Any) -> Any:
        # there is nothing to fuse, and the first calls would be slow
        with torch.jit.optimized_execution(False):  # pyright: ignore[reportPrivateImportUsage]
            return self._compiled(*args)

    @cached_property
    def _compiled(self) -> Callable[..., Any]:
        if not hasattr(torch.jit, "script"):
            return self.function
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                return torch.jit.script(self.function)
            except OSError:  # no source
                return self.function
