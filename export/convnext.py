"""`codecs.layers.convnext` in a graph: few operators, since a step of a stream is over sooner than a hundred small ones.

Frames are [batch, frames, 1, channels]: the depthwise convolution then takes two axes, which ONNX Runtime computes in blocks of
channels, and no operator but views stands between it and its neighbours.
"""

import copy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..codecs.layers.convnext import CausalConvNeXt, CausalStack


class PlainStack(nn.Module):
    """Blocks one after another. State: one tensor [batch, kernel - 1, 1, channels] per block."""

    def __init__(self, stack: CausalStack) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(PlainBlock(block) for block in stack.blocks)

    def initial_state(self, batch: int) -> list[Tensor]:
        """Return the states before the first frame."""
        taps = [cast(PlainBlock, block).taps for block in self.blocks]
        return [t.new_zeros(batch, t.shape[2] - 1, 1, t.shape[0]) for t in taps]

    def step(self, x: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the output of the last block for the next frames [batch, frames, 1, channels]."""
        after = []
        for block, before in zip(self.blocks, state, strict=True):
            joined = torch.cat([before, x], dim=1)
            after.append(joined[:, -before.shape[1] :])
            x = x + block(joined).reshape(x.shape)
        return x, after


class PlainBlock(nn.Module):
    """What a block adds to its input, as rows [batch * frames, channels]; its scale is part of the last product."""

    taps: Tensor

    def __init__(self, block: CausalConvNeXt) -> None:
        super().__init__()
        self.register_buffer("taps", block.mix.weight.detach()[..., None].clone())  # [channels, 1, kernel, 1]
        self.block = copy.deepcopy(block)

    def forward(self, joined: Tensor) -> Tensor:
        """Return the rows for frames that follow kernel - 1 earlier ones."""
        block, channels = self.block, joined.shape[3]
        image = joined.permute(0, 3, 1, 2).contiguous()  # without contiguous(), tracing asks after the strides
        mixed = F.conv2d(image, self.taps, block.mix.bias, groups=channels).permute(0, 2, 3, 1)
        rows = block.norm(mixed).reshape(-1, channels)
        scale = block.scale
        return F.linear(F.gelu(block.widen(rows)), block.narrow.weight * scale[:, None], block.narrow.bias * scale)
