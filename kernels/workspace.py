"""Buffers in which the CPU searches a few rows at a time, and the maximum in two levels; `chunked` says why there are two."""

import math

import torch
from torch import Tensor


class Books:
    """Views of codebooks [Q, K, D] stage by stage: as they are, transposed, and what is added to their scores [Q, K]."""

    def __init__(self, codebooks: Tensor, half_norms: Tensor) -> None:
        self.shape = codebooks.shape
        self.stages, self.transposed = codebooks.unbind(0), codebooks.transpose(1, 2).unbind(0)
        self.bias = (-half_norms).unbind(0)


class Workspace:
    """Buffers for chunks of exactly `rows` rows, and the views of them that a search needs; padding codes score -inf.

    All views are made once: while a worker makes one, the other has to wait for the interpreter.
    """

    def __init__(self, rows: int, Q: int, K: int, D: int, like: Tensor) -> None:
        self.rows, self.codes, self.block = rows, K, block_size(K)
        blocks = max(2, -(-K // self.block))
        scores = like.new_full((rows, blocks * self.block), -torch.inf)
        self.scores, self.padded = scores[:, :K], blocks * self.block > K
        self.by_block, self.flat = scores.view(rows, blocks, self.block), scores.view(-1, self.block)
        self.block_peaks = like.new_empty((rows, blocks))
        self.first_block, self.chosen_block = torch.arange(rows) * blocks, torch.empty(rows, dtype=torch.int64)
        self.inside = like.new_empty((rows, self.block))
        self.best_block, self.place = torch.empty((2, rows, 1), dtype=torch.int64).unbind(0)
        self.flat_best_block, self.flat_place = self.best_block[:, 0], self.place[:, 0]
        self.residual = like.new_empty((rows, D))
        free = not self.padded and K >= D  # between two searches the scores' memory can hold the chosen vectors
        self.chosen = scores.view(-1)[: rows * D].view(rows, D) if free else like.new_empty((rows, D))
        self.best, self.second, self.norm = like.new_empty((3, Q, rows)).unbind(0)
        self.bests, self.seconds, self.norms = self.best[:, :, None].unbind(0), self.second.unbind(0), self.norm.unbind(0)

    def search(self, x: Tensor, books: Books, stage: int, code: Tensor) -> None:
        """Write the best code of each row into `code`, and this stage's greatest and next greatest scores.

        Afterwards the best code's score is -inf: what is left has the next greatest.
        """
        best = self.bests[stage]
        torch.addmm(books.bias[stage], x, books.transposed[stage], out=self.scores)
        torch.amax(self.by_block, 2, out=self.block_peaks)
        torch.max(self.block_peaks, 1, keepdim=True, out=(best, self.best_block))
        torch.add(self.first_block, self.flat_best_block, out=self.chosen_block)
        torch.index_select(self.flat, 0, self.chosen_block, out=self.inside)
        torch.max(self.inside, 1, keepdim=True, out=(best, self.place))
        torch.add(self.flat_place, self.flat_best_block, alpha=self.block, out=code)
        if self.padded:
            code.clamp_(max=self.codes - 1)  # only where every score is -inf
        self.scores.scatter_(1, code[:, None], -torch.inf)
        torch.amax(self.scores, 1, out=self.seconds[stage])


def block_size(K: int) -> int:
    """Codes per block: a power of two near 2 sqrt(K), where the two levels cost least."""
    return 1 << max(4, math.ceil(math.log2(max(2, K)) / 2) + 1)
