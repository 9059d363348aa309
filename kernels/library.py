"""The library of the kernels in C, built with the package where there is a compiler. Needs the standard library alone.

It needs an x86 processor with AVX2 and FMA. Elsewhere, or with TONEME_NATIVE=0 in the environment, there is none.
"""

import ctypes
import os
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

VERSION = 4  # of the functions that are called from outside of C, as in c/kernels.h
NONE, AVX2, WIDER = 0, 1, 2  # what `toneme_processor` answers; `WIDER`: PyTorch's products have vectors of 512 bits


@cache
def library() -> ctypes.CDLL | None:
    """Return the kernels, or None where they were not built, the processor lacks what they need, or they are turned off.

    What an older checkout built has another version, and is not called either; nor is what the system does not load, as from
    a disk that it runs nothing from, or what was built against a newer C library.
    """
    path = built()
    if os.environ.get("TONEME_NATIVE") == "0" or path is None:
        return None
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError:
        return None
    current = hasattr(loaded, "toneme_version") and loaded.toneme_version() == VERSION
    if not current or loaded.toneme_processor() == NONE:
        return None
    loaded.toneme_search_bytes.restype = ctypes.c_size_t  # the only one that returns more than an int
    return loaded


def built() -> Path | None:
    """Return the file that was built, whatever is in it."""
    beside = (Path(__file__).with_name(f"_native{suffix}") for suffix in EXTENSION_SUFFIXES)
    return next((path for path in beside if path.is_file()), None)
