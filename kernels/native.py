"""The CPU's kernels in C, built with the package where there is a compiler; a call lets other threads of Python run.

They need an x86 processor with AVX2 and FMA. Elsewhere, or with TONEME_NATIVE=0 in the environment, `library` is None and
PyTorch does the same work; codes are the same, and samples equal up to rounding.
"""

import ctypes
import os
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import torch
from torch import Tensor

VERSION = 2  # of the functions that are called here, as in c/kernels.h
NONE, AVX2, WIDER = 0, 1, 2  # what `toneme_processor` answers; `WIDER`: PyTorch's products have vectors of 512 bits


@cache
def library() -> ctypes.CDLL | None:
    """Return the kernels, or None where they were not built, the processor lacks what they need, or they are turned off.

    What an older checkout built has another version, and is not called either; nor is what the system does not load, as from
    a disk that it runs nothing from, or what was built against a newer C library.
    """
    beside = (Path(__file__).with_name(f"_native{suffix}") for suffix in EXTENSION_SUFFIXES)
    built = next((path for path in beside if path.is_file()), None)
    if os.environ.get("TONEME_NATIVE") == "0" or built is None:
        return None
    try:
        loaded = ctypes.CDLL(str(built))
    except OSError:
        return None
    current = hasattr(loaded, "toneme_version") and loaded.toneme_version() == VERSION
    if not current or loaded.toneme_processor() == NONE:
        return None
    loaded.toneme_search_bytes.restype = ctypes.c_size_t  # the only one that returns more than an int
    return loaded


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
