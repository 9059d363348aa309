"""Kernels: each a Triton program beside its PyTorch reference, and the CPU's fast path, behind one function."""

from .nearest import half_norms, nearest_code, nearest_code_reference, rvq_encode, rvq_encode_reference

__all__ = ["half_norms", "nearest_code", "nearest_code_reference", "rvq_encode", "rvq_encode_reference"]
