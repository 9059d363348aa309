"""The CPU's kernels in C for tensors; a call lets other threads of Python run.

Where there is no `library`, PyTorch does the same work; codes are the same, and samples equal up to rounding.
"""

import ctypes

import torch
from torch import Tensor

from .library import AVX2, NONE, VERSION, WIDER, library

__all__ = ["AVX2", "NONE", "VERSION", "WIDER", "address", "library", "products", "reading", "runs"]


def products() -> ctypes.CDLL | None:
    """Return the kernels where their matrix products are also the widest that the processor has."""
    native = library()
    return native if native is not None and native.toneme_processor() == AVX2 else None


def address(x: Tensor | None) -> ctypes.c_void_p:
    """Return where the numbers of x begin; zero of no tensor."""
    return ctypes.c_void_p(None if x is None else x.data_ptr())


def reading(*tensors: Tensor | None) -> ctypes.CDLL | None:
    """Return the kernels where each tensor that is there is what they read: float32, on the CPU, contiguous, and not traced."""
    plain = all(x is None or (x.dtype == torch.float32 and x.device.type == "cpu" and x.is_contiguous()) for x in tensors)
    traced = torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    return library() if plain and not traced else None


def runs(*tensors: Tensor | None) -> bool:
    """Say whether the kernels are there and read such tensors."""
    return reading(*tensors) is not None
