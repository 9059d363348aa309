"""The CPU's search of one large codebook: a tile of its scores at a time, of which only each block's maximum is kept.

Scores of so many codes leave no room in cache for enough rows to make the product fast. So the codebook is cut into tiles, and
when all have been seen the scores inside each row's best block are made again: a few dozen products beside thousands. Both
kinds of scores have errors within the bound that certifies codes (`chunked`).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .unlocked import Unlocked
from .workspace import left_over

LEAST_CODES = 8192
TILE = 1024
ROWS = 256
WIDE = 64  # dimensions above which a block is smaller, since its codes are gathered row by row


class Tiles(NamedTuple):
    """As `workspace.Buffers`, with the scores of one tile and the peaks of all."""

    scores: Tensor  # [rows, TILE]
    by_block: Tensor  # [rows, blocks of a tile, block]: the same memory
    peaks: Tensor  # [rows, blocks]
    best_block: Tensor  # [rows, 1]
    place: Tensor  # [rows, 1]: inside it
    members: Tensor  # [rows, block * D]: the codes of the best block
    inside: Tensor  # [rows, block]: their scores
    rest: Tensor  # [rows]: the greatest of them but one
    residual: Tensor  # [rows, D]
    chosen: Tensor  # [rows, D]
    best: Tensor
    second: Tensor
    norm: Tensor


def takes(K: int) -> bool:
    """Whether codebooks of K codes are searched in tiles."""
    return K >= LEAST_CODES and K % TILE == 0


def tiles(rows: int, Q: int, K: int, D: int) -> Tiles:
    """Return buffers for chunks of exactly `rows` rows and codebooks that `takes` accepts."""
    block = 64 if D <= WIDE else 16
    scores = torch.empty((rows, TILE))
    best_block, place = torch.empty((2, rows, 1), dtype=torch.int64).unbind(0)
    residual, chosen = torch.empty((2, rows, D)).unbind(0)
    best, second, norm = torch.empty((3, Q, rows)).unbind(0)
    return Tiles(
        scores, scores.view(rows, TILE // block, block), torch.empty((rows, K // block)), best_block, place,
        torch.empty((rows, block * D)), torch.empty((rows, block)), torch.empty(rows), residual, chosen, best, second, norm,
    )  # fmt: skip


def search(x: Tensor, codebook: Tensor, bias: Tensor, stage: int, b: Tiles, code: Tensor) -> None:
    """Write the best code of each row into `code`, and this stage's greatest and next greatest scores and the rows' lengths."""
    best, second, size = b.best[stage].unsqueeze(1), b.second[stage], b.inside.size(1)
    torch.linalg.vector_norm(x, 2.0, [1], out=b.norm[stage])
    for first in range(0, codebook.size(0), b.scores.size(1)):
        last = first + b.scores.size(1)
        torch.addmm(bias[first:last], x, codebook[first:last].t(), out=b.scores)
        torch.amax(b.by_block, [2], out=b.peaks[:, first // size : last // size])
    torch.ops.aten.max(b.peaks, 1, True, max=best, max_values=b.best_block)
    block = b.best_block[:, 0]
    torch.index_select(codebook.view(-1, b.members.size(1)), 0, block, out=b.members)
    torch.index_select(bias.view(-1, size), 0, block, out=b.inside)
    b.inside.unsqueeze(2).baddbmm_(b.members.view(len(x), size, -1), x.unsqueeze(2))
    torch.ops.aten.max(b.inside, 1, True, max=best, max_values=b.place)
    torch.add(b.place[:, 0], block, alpha=size, out=code)
    torch.amax(b.inside.scatter_(1, b.place, -math.inf), [1], out=b.rest)
    torch.amax(b.peaks.scatter_(1, b.best_block, -math.inf), [1], out=second)
    torch.maximum(second, b.rest, out=second)


def tiled_stages(x: Tensor, codebooks: Tensor, bias: Tensor, b: Tiles, codes: Tensor) -> None:
    """As `workspace.residual_stages`."""
    residual = x
    for stage in range(codebooks.size(0)):
        search(residual, codebooks[stage], bias[stage], stage, b, codes[stage])
        if stage + 1 < codebooks.size(0):
            residual = left_over(residual, codebooks[stage], codes[stage], b.chosen, b.residual)


encode_tiled = Unlocked(tiled_stages)
