"""The CPU's search in C: scores stay in registers, and the residual in a layout of its own from the first stage to the last.

Codes are certified as in `chunked`; where rounding may have chosen one, 64 bits choose among blocks of codes that come near.
"""

from ctypes import c_double, c_size_t

import torch
from torch import Tensor

from .native import address, products
from .rescan import error_factors

LANES = 16  # rows that are searched side by side
PART_FLOATS = 1 << 16  # of the residual of a part, which stays in a core's second cache
MOST_ROWS = 2048
LEAST_SHARED = 1 << 20  # products of a search that one thread makes in less time than another takes to begin


def takes(D: int) -> bool:
    """Whether vectors of D dimensions are searched here."""
    return D > 0 and products() is not None


def encode(x: Tensor, codebooks: Tensor, half_norms: Tensor) -> Tensor:
    """As `chunked.encode`, where `takes(D)`."""
    codes = torch.empty((codebooks.shape[0], x.shape[0]), dtype=torch.int64)
    search(x, (codebooks, half_norms), error_factors(codebooks, half_norms), codes)
    return codes.T


def search(
    x: Tensor,
    books: tuple[Tensor, Tensor],
    bounds: tuple[Tensor, Tensor],
    codes: Tensor,
    doubt: Tensor | None = None,
) -> None:
    """Write codes [Q, rows], each stage of which is contiguous, in as many threads as PyTorch may use.

    Args:
        x: [rows, D], and `books`, codebooks [Q, K, D] and half norms [Q, K]: float32 on the CPU and contiguous.
        bounds: a slope and an offset [Q, 1] of twice the error of a score (`rescan.error_factors`).
        doubt: [Q, rows], bool, tells which codes rounding may have chosen; without it those are settled in 64 bits.
    """
    native, (Q, K, D), rows = products(), books[0].shape, len(x)
    assert native is not None
    threads = torch.get_num_threads() if rows * Q * K * D >= LEAST_SHARED else 1
    size = c_size_t(rows_of_part(rows, D, threads))
    work = torch.empty(native.toneme_search_bytes(size, D, threads), dtype=torch.uint8)
    inputs = (*books, *(bound.contiguous() for bound in bounds))  # held until the call is over: an address holds nothing
    half = c_double(0.5 if doubt is None and books[1].any() else 0)
    outputs = address(codes), c_size_t(codes.stride(0)), None if doubt is None else address(doubt), address(work)
    native.toneme_search(address(x), c_size_t(rows), size, Q, K, D, *map(address, inputs), half, *outputs, threads)


def rows_of_part(N: int, D: int, workers: int) -> int:
    """Rows that are searched at once: whole lanes, few enough for the cache, and alike for each of the workers."""
    most = max(LANES, min(MOST_ROWS, PART_FLOATS // D))
    share = -(-N // workers)
    even = -(-share // -(-share // most))
    return -(-even // LANES) * LANES
