"""Buffers in which the CPU searches a few rows at a time, and the maximum in two levels; `chunked` says why there are two.

The functions are written for `unlocked`, without its lock: what it reads is not all of Python.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .unlocked import Unlocked


class Buffers(NamedTuple):
    """Memory that each search of `rows` rows writes over, and what is kept of each stage (the last three, [Q, rows])."""

    scores: Tensor  # [rows, K]
    by_block: Tensor  # [rows, blocks, block]: the same memory, or that of padded rows
    flat: Tensor  # [rows * blocks, block]: the same
    block_peaks: Tensor  # [rows, blocks]
    first_block: Tensor  # [rows]: of each row in `flat`
    chosen_block: Tensor  # [rows]: in `flat`
    inside: Tensor  # [rows, block]: scores of the best block
    best_block: Tensor  # [rows, 1]
    place: Tensor  # [rows, 1]: inside it
    residual: Tensor  # [rows, D]
    chosen: Tensor  # [rows, D]: codes, in the scores' memory where there is room
    best: Tensor
    second: Tensor
    norm: Tensor


def buffers(rows: int, Q: int, K: int, D: int) -> Buffers:
    """Return buffers for chunks of exactly `rows` rows; padding codes score -inf."""
    block = block_size(K)
    blocks = max(2, -(-K // block))
    scores = _floats(rows, blocks * block).fill_(-torch.inf)
    free = blocks * block == K and K >= D  # between two searches the scores' memory can hold the chosen vectors
    best_block, place = _integers(2, rows, 1).unbind(0)
    best, second, norm = _floats(3, Q, rows).unbind(0)
    return Buffers(
        scores[:, :K], scores.view(rows, blocks, block), scores.view(-1, block), _floats(rows, blocks),
        torch.arange(rows, dtype=torch.int64, device="cpu") * blocks, _integers(rows), _floats(rows, block), best_block, place,
        _floats(rows, D), scores.view(-1)[: rows * D].view(rows, D) if free else _floats(rows, D),
        best, second, norm,
    )  # fmt: skip


def _floats(*shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.float32, device="cpu")  # whatever PyTorch's defaults are


def _integers(*shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.int64, device="cpu")


def search(x: Tensor, codebook: Tensor, bias: Tensor, stage: int, b: Buffers, code: Tensor) -> None:
    """Write the best code of each row into `code`, and this stage's greatest and next greatest scores and the rows' lengths.

    Afterwards the best code's score is -inf: what is left has the next greatest.
    """
    best = b.best[stage].unsqueeze(1)
    torch.linalg.vector_norm(x, 2.0, [1], out=b.norm[stage])
    torch.addmm(bias, x, codebook.t(), out=b.scores)
    torch.amax(b.by_block, [2], out=b.block_peaks)
    torch.ops.aten.max(b.block_peaks, 1, True, max=best, max_values=b.best_block)
    torch.add(b.first_block, b.best_block[:, 0], out=b.chosen_block)
    torch.index_select(b.flat, 0, b.chosen_block, out=b.inside)
    torch.ops.aten.max(b.inside, 1, True, max=best, max_values=b.place)
    torch.add(b.place[:, 0], b.best_block[:, 0], alpha=b.inside.size(1), out=code)
    if b.scores.size(1) < b.by_block.size(1) * b.by_block.size(2):
        code.clamp_(max=codebook.size(0) - 1)  # only where every score is -inf
    b.scores.scatter_(1, code.unsqueeze(1), -math.inf)
    torch.amax(b.scores, [1], out=b.second[stage])


def left_over(x: Tensor, codebook: Tensor, code: Tensor, chosen: Tensor, out: Tensor) -> Tensor:
    """Write what a stage leaves of x to the next one into `out`, which may be x; `chosen` is room for the codes."""
    torch.index_select(codebook, 0, code, out=chosen)
    return torch.sub(x, chosen, out=out)


def residual_stages(x: Tensor, codebooks: Tensor, bias: Tensor, b: Buffers, codes: Tensor) -> None:
    """Write codes [Q, rows] of x [rows, D] under codebooks [Q, K, D], stage after stage; `bias` [Q, K] is added to scores."""
    residual = x
    for stage in range(codebooks.size(0)):
        search(residual, codebooks[stage], bias[stage], stage, b, codes[stage])
        if stage + 1 < codebooks.size(0):
            residual = left_over(residual, codebooks[stage], codes[stage], b.chosen, b.residual)


class FoldedBooks(NamedTuple):
    """Codebooks of a folded factorised chain."""

    unit: Tensor  # [Q, K, d], float32: what is searched
    whole: Tensor  # [Q, K, d], float32: what is taken away
    cross: Tensor  # [Q, d, Q * d], float64: how it is taken from the inputs of all stages after it


def factorised_stages(inside: Tensor, books: FoldedBooks, bias: Tensor, b: Buffers, codes: Tensor) -> None:
    """Write codes [Q, rows] of `inside` [rows, Q * d], the inputs of all stages in 64 bits, which it overwrites."""
    count, d = books.unit.size(0), books.unit.size(2)
    for stage in range(count):
        search(inside[:, stage * d : (stage + 1) * d].float(), books.unit[stage], bias[stage], stage, b, codes[stage])
        if stage + 1 < count:
            inside.addmm_(books.whole[stage].index_select(0, codes[stage]).double(), books.cross[stage], alpha=-1.0)


def block_size(K: int) -> int:
    """Codes per block: a power of two near 2 sqrt(K), where the two levels cost least."""
    return 1 << max(4, math.ceil(math.log2(max(2, K)) / 2) + 1)


encode_residual, encode_factorised = Unlocked(residual_stages), Unlocked(factorised_stages)
