"""Kernels: each a Triton program beside its PyTorch reference, and the CPU's fast path, behind one function.

The names load on first use, so that what needs only `kernels.errors` can do without torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .nearest import half_norms, nearest_code, nearest_code_reference, rvq_encode, rvq_encode_reference

__all__ = ["half_norms", "nearest_code", "nearest_code_reference", "rvq_encode", "rvq_encode_reference"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import nearest

    value = getattr(nearest, name)
    globals()[name] = value
    return value
