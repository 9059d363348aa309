"""Causal ConvNeXt block on [batch, frames, channels].

Source: Liu et al., "A ConvNet for the 2020s", 2022, figure 4; one-dimensional as in Siuzdak, "Vocos", 2023.
"""

from typing import cast

import torch
from torch import Tensor, nn

from ...kernels.depthwise import depthwise
from ...kernels.native import runs
from . import rows
from .linear import Linear
from .packs import Packs


class CausalConvNeXt(Packs):
    """Depthwise convolution over the past, then a two-layer perceptron per frame, both inside one residual.

    State: the last `kernel - 1` frames, [batch, kernel - 1, channels], zeros before the first.
    """

    def __init__(self, channels: int, kernel: int, expansion: int, scale: float) -> None:
        super().__init__()
        self.mix = nn.Conv1d(channels, channels, kernel, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.widen = Linear(channels, channels * expansion)
        self.narrow = Linear(channels * expansion, channels)
        self.scale = nn.Parameter(torch.full((channels,), scale))

    def initial_state(self, batch: int) -> Tensor:
        """Return the silence before the first frame."""
        return self.scale.new_zeros(batch, self.mix.kernel_size[0] - 1, self.mix.in_channels)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the block's output for the next frames."""
        joined = torch.cat([state, x], dim=1)
        y = self.norm(self._mixed(joined))
        y = self.narrow(nn.functional.gelu(self.widen(y)))
        return x + self.scale * y, joined[:, x.shape[1] :]

    def _mixed(self, joined: Tensor) -> Tensor:
        """Return the depthwise convolution of frames [batch, frames, channels]."""
        if not rows.usable(joined) or not runs(joined):
            return self.mix(joined.transpose(1, 2)).transpose(1, 2)
        filters = self._kept((self.mix.weight,), lambda: self.mix.weight.detach()[:, 0].T.contiguous())
        y = joined.new_empty(joined.shape[0], joined.shape[1] - len(filters) + 1, joined.shape[2])
        for item, out in zip(joined, y, strict=True):
            depthwise(item, filters, self.mix.bias, 1, None, out)
        return y


class CausalStack(nn.Module):
    """Blocks one after another. State: one tensor per block."""

    def __init__(self, blocks: int, channels: int, kernel: int, expansion: int) -> None:
        super().__init__()
        stack = nn.ModuleList(CausalConvNeXt(channels, kernel, expansion, 1 / max(1, blocks)) for _ in range(blocks))
        self.blocks = cast("list[CausalConvNeXt]", stack)

    def initial_state(self, batch: int) -> list[Tensor]:
        """Return the states of all blocks before the first frame."""
        return [block.initial_state(batch) for block in self.blocks]

    def step(self, x: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the output of the last block for the next frames."""
        after = []
        for block, before in zip(self.blocks, state, strict=True):
            x, late = block.step(x, before)
            after.append(late)
        return x, after
