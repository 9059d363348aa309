"""A linear layer that is fast at the few rows of a stream's step too."""

import torch
from torch import Tensor, nn

from ...kernels import few_rows


class Linear(nn.Linear):
    """As PyTorch's; on a CPU, without gradients, few rows are multiplied in C (`kernels.few_rows`)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output [..., outputs] for x [..., inputs]."""
        return super().forward(x) if torch.compiler.is_compiling() else few_rows.linear(x, self.weight, self.bias)
