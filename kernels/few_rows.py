"""A linear layer on few rows, as in each step of a stream: what counts is that all threads read its matrix once, in order.

PyTorch's products pack a matrix before they use it, which of two rows takes twice the time and does not gain from threads.
"""

from ctypes import c_size_t

import torch
from torch import Tensor
from torch.nn import functional as F

from .native import address, reading

MOST_ROWS = 16  # from about 24 on PyTorch's products are as fast
LEAST = 1 << 14  # numbers of a matrix below which its reading does not count
SHARED = 1 << 16  # numbers of a matrix from which each thread reads a part


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x [..., inputs] times weight [outputs, inputs] turned over, plus bias [outputs]; any device, any number of rows.

    It has gradients where the kernels in C are not called: those are for callers that want none. Other shapes are PyTorch's to
    broadcast or to refuse.
    """
    rows = x.numel() // max(1, x.shape[-1])
    fits = x.shape[-1:] == weight.shape[1:] and (bias is None or bias.shape == weight.shape[:1])
    if 0 < rows <= MOST_ROWS and weight.numel() >= LEAST and not torch.is_grad_enabled() and fits:
        x = x.contiguous()
        if (native := reading(x, weight, bias)) is not None:
            y = x.new_empty(*x.shape[:-1], len(weight))
            threads = torch.get_num_threads() if weight.numel() >= SHARED else 1
            sizes, matrix = (c_size_t(rows), c_size_t(weight.shape[1])), (address(weight), c_size_t(len(weight)))
            native.toneme_linear(address(x), *sizes, *matrix, address(bias), address(y), threads)
            return y
    return F.linear(x, weight, bias)
