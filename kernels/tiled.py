"""The CPU's search of one large codebook: a tile of its scores at a time, of which only each block's maximum is kept.

Scores of so many codes leave no room in cache for enough rows to make the product fast. So the codebook is cut into tiles, and
when all have been seen the scores inside each row's best block are made again: a few dozen products beside thousands. Both
kinds of scores have errors within the bound that certifies codes (`chunked`).
"""

import torch
from torch import Tensor

from .workspace import Books

LEAST_CODES = 8192
TILE = 1024
ROWS = 256
WIDE = 64  # dimensions above which a block is smaller, since its codes are gathered row by row


def takes(K: int) -> bool:
    """Whether codebooks of K codes are searched in tiles."""
    return K >= LEAST_CODES and K % TILE == 0


class TiledWorkspace:
    """As `Workspace`, for `rows` rows and codebooks that `takes` accepts."""

    def __init__(self, rows: int, Q: int, K: int, D: int, like: Tensor) -> None:
        self.rows, self.block = rows, 64 if D <= WIDE else 16
        blocks, step = K // self.block, TILE // self.block
        self.scores, self.peaks = like.new_empty((rows, TILE)), like.new_empty((rows, blocks))
        self.by_block, self.tile_peaks = self.scores.view(rows, step, self.block), self.peaks.split(step, dim=1)
        self.best_block, self.place = torch.empty((2, rows, 1), dtype=torch.int64).unbind(0)
        self.members = like.new_empty((rows, self.block * D))
        self.member_matrices = self.members.view(rows, self.block, D)
        self.inside, self.rest = like.new_empty((rows, self.block)), like.new_empty(rows)
        self.residual, self.chosen = like.new_empty((2, rows, D)).unbind(0)
        self.best, self.second, self.norm = like.new_empty((3, Q, rows)).unbind(0)
        self.bests, self.seconds, self.norms = self.best[:, :, None].unbind(0), self.second.unbind(0), self.norm.unbind(0)

    def search(self, x: Tensor, books: Books, stage: int, code: Tensor) -> None:
        """Write the best code of each row into `code`, and this stage's greatest and next greatest scores."""
        codebook, bias, best, second = books.stages[stage], books.bias[stage], self.bests[stage], self.seconds[stage]
        for part, part_bias, peaks in zip(codebook.T.split(TILE, dim=1), bias.split(TILE), self.tile_peaks, strict=True):
            torch.addmm(part_bias, x, part, out=self.scores)
            torch.amax(self.by_block, 2, out=peaks)
        torch.max(self.peaks, 1, keepdim=True, out=(best, self.best_block))
        block = self.best_block[:, 0]
        torch.index_select(codebook.view(-1, self.members.shape[1]), 0, block, out=self.members)
        torch.index_select(bias.view(-1, self.block), 0, block, out=self.inside)
        self.inside[:, :, None].baddbmm_(self.member_matrices, x[:, :, None])
        torch.max(self.inside, 1, keepdim=True, out=(best, self.place))
        torch.add(self.place[:, 0], block, alpha=self.block, out=code)
        torch.amax(self.inside.scatter_(1, self.place, -torch.inf), 1, out=self.rest)
        torch.amax(self.peaks.scatter_(1, self.best_block, -torch.inf), 1, out=second)
        torch.maximum(second, self.rest, out=second)
