"""Kernels: each a Triton program beside its PyTorch reference, and the CPU's fast path, behind one function."""
