"""Bit packing: codes as unsigned integers of fixed width, least significant bit first, without gaps."""

from collections.abc import Sequence

import numpy as np

MAX_WIDTH = 32


def width_of(size: int) -> int:
    """Return the bits that a code of a codebook with `size` entries takes: ceil(log2(size)), at least 1."""
    return max(1, (size - 1).bit_length())


def packed_bytes(counts: Sequence[int], widths: Sequence[int]) -> int:
    """Return the bytes that `counts[i]` codes of `widths[i]` bits take when packed one after another."""
    return -(-sum(count * width for count, width in zip(counts, widths, strict=True)) // 8)


def pack(rows: Sequence[np.ndarray], widths: Sequence[int]) -> bytes:
    """Pack rows of codes, row i with `widths[i]` bits a code; the last byte is filled with zero bits."""
    return np.packbits(_joined([_to_bits(row, width) for row, width in _runs(rows, widths)]), bitorder="little").tobytes()


def unpack(data: bytes, counts: Sequence[int], widths: Sequence[int]) -> list[np.ndarray]:
    """Undo `pack`: return int64 arrays of `counts[i]` codes each.

    Raises:
        ValueError: if `data` has another length than the counts take, or ends in bits that are not zero.
    """
    if len(data) != packed_bytes(counts, widths):
        raise ValueError(f"expected {packed_bytes(counts, widths)} bytes of packed codes, got {len(data)}")
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    rows, at = [], 0
    for count, width in zip(counts, widths, strict=True):
        rows.append(_from_bits(bits[at : at + count * width], count, width))
        at += count * width
    if bits[at:].any():
        raise ValueError("the bits that fill the last byte of the packed codes must be zero")
    return rows


def _runs(rows: Sequence[np.ndarray], widths: Sequence[int]) -> list[tuple[np.ndarray, int]]:
    """Join neighbouring rows of one width, so that each width costs one pass."""
    runs: list[tuple[list[np.ndarray], int]] = []
    for row, width in zip(rows, widths, strict=True):
        if runs and runs[-1][1] == width:
            runs[-1][0].append(row)
        else:
            runs.append(([row], width))
    return [(np.concatenate(group), width) for group, width in runs]


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, np.uint8)


def _to_bits(codes: np.ndarray, width: int) -> np.ndarray:
    as_bytes = np.ascontiguousarray(codes, "<u4").view(np.uint8).reshape(-1, 4)
    return np.unpackbits(as_bytes, axis=1, bitorder="little", count=width).ravel()


def _from_bits(bits: np.ndarray, count: int, width: int) -> np.ndarray:
    as_bytes = np.packbits(bits.reshape(count, width), axis=1, bitorder="little")
    wide = np.zeros((count, 4), np.uint8)
    wide[:, : as_bytes.shape[1]] = as_bytes
    return wide.view("<u4").ravel().astype(np.int64)
