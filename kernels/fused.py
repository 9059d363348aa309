"""The CPU's search in C: scores stay in registers, and the residual in a layout of its own from the first stage to the last.

Codes are certified as in `chunked`; where rounding may have chosen one, 64 bits choose among all.
"""

import ctypes
from collections.abc import Iterator

import torch
from torch import Tensor

from .native import address, products
from .rescan import error_factors
from .workers import share

LANES = 16  # rows that are searched side by side
PART_FLOATS = 1 << 16  # of the residual of a part, which stays in a core's second cache
MOST_ROWS = 2048


def takes(D: int) -> bool:
    """Whether vectors of D dimensions are searched here."""
    return D > 0 and products() is not None


def encode(x: Tensor, codebooks: Tensor, half_norms: Tensor) -> Tensor:
    """As `chunked.encode`, where `takes(D)`."""
    N, (Q, K, D) = x.shape[0], codebooks.shape
    bounds = error_factors(codebooks, half_norms)
    codes = torch.empty((Q, N), dtype=torch.int64)

    def work_on(parts: Iterator[slice]) -> None:
        for part in parts:
            search(x[part], (codebooks, half_norms), bounds, codes[:, part])

    share(work_on, N, lambda workers: rows_of_part(N, D, workers), work=2 * N * Q * K * D)
    return codes.T


def search(
    x: Tensor,
    books: tuple[Tensor, Tensor],
    bounds: tuple[Tensor, Tensor],
    codes: Tensor,
    doubt: Tensor | None = None,
) -> None:
    """Write codes [Q, rows], each stage of which is contiguous.

    Args:
        x: [rows, D], and `books`, codebooks [Q, K, D] and half norms [Q, K]: float32 on the CPU and contiguous.
        bounds: a slope and an offset [Q, 1] of twice the error of a score (`rescan.error_factors`).
        doubt: [Q, rows], bool, tells which codes rounding may have chosen; without it those are settled in 64 bits.
    """
    native, size, (Q, K, D) = products(), ctypes.c_size_t, books[0].shape
    assert native is not None
    native.toneme_search_bytes.restype = size
    work = torch.empty(native.toneme_search_bytes(size(len(x)), D), dtype=torch.uint8)
    inputs = (address(t) for t in (*books, *(bound.contiguous() for bound in bounds)))
    half = ctypes.c_double(0.5 if doubt is None and books[1].any() else 0)
    outputs = address(codes), size(codes.stride(0)), None if doubt is None else address(doubt), address(work)
    native.toneme_search(address(x), size(len(x)), Q, K, D, *inputs, half, *outputs)


def rows_of_part(N: int, D: int, workers: int) -> int:
    """Rows that are searched at once: whole lanes, few enough for the cache, and alike for each of the workers."""
    most = max(LANES, min(MOST_ROWS, PART_FLOATS // D))
    share = -(-N // workers)
    even = -(-share // -(-share // most))
    return -(-even // LANES) * LANES
