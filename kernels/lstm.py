"""The steps of an LSTM layer on the CPU in C, without gradients; a layer's inputs are multiplied before, all steps at once.

Source: Hochreiter and Schmidhuber, "Long Short-Term Memory", 1997, with the forget gate of Gers et al., 2000, as in
`torch.nn.LSTM`.
"""

from ctypes import c_size_t

import torch
from torch import Tensor
from torch.nn import functional as F

from .errors import ShapeError
from .native import address, reading

GATES = 4
UNITS = 16  # side by side in a panel
LEAST_SHARED = 16  # panels of all steps that one thread reads in less time than another takes to begin


def pack(weight: Tensor) -> Tensor:
    """Return recurrent weights [4 * H, H] as panels [panels, 4, H, 16], in the order in which a step reads them.

    Raises:
        ShapeError: if the shape is another.
    """
    width = weight.shape[-1]
    if weight.shape != (GATES * width, width):
        raise ShapeError(f"recurrent weights are [4 * H, H]; got {[*weight.shape]}")
    padded = F.pad(weight.view(GATES, width, width), (0, 0, 0, -width % UNITS))
    return padded.view(GATES, -1, UNITS, width).permute(1, 0, 3, 2).contiguous()


def steps(inputs: Tensor, packed: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Return outputs [batch, time, H] and the cells after the last step, where `native.runs` says so.

    Threads take parts of each step. Outputs are within 1e-6 of those of `torch.nn.LSTM`, and the same for any number of threads
    and however time is cut.

    Args:
        inputs: [batch, time, 4 * H], what the gates i, f, g, o get from the layer's input and from its biases.
        packed: the recurrent weights, of `pack`.
        hidden, cell: [batch, H], before the first step.

    Raises:
        ShapeError: if the shapes are others.
    """
    (batch, time, _), width = inputs.shape, packed.shape[2]
    if inputs.shape[2] != GATES * width or not hidden.shape == cell.shape == (batch, width):
        raise ShapeError(
            f"inputs are [batch, time, {GATES * width}], hidden and cell [batch, {width}]; "
            f"got {[*inputs.shape]}, {[*hidden.shape]}, {[*cell.shape]}"
        )
    native, outputs, cell = reading(inputs, packed, hidden, cell), inputs.new_empty(batch, time, width), cell.clone()
    assert native is not None
    tensors, sizes = [address(t) for t in (packed, inputs, hidden, cell, outputs)], [*map(c_size_t, (batch, time, width))]
    native.toneme_lstm(*tensors, *sizes, torch.get_num_threads() if time * len(packed) >= LEAST_SHARED else 1)
    return outputs, cell
