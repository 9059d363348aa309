"""`codecs.layers.convnext` in a graph: one operator a block, since a step of a stream is over sooner than a hundred small ones.

Frames are [batch, frames, 1, channels]: the depthwise convolution of the operator's function then takes two axes, which ONNX
Runtime computes in blocks of channels.
"""

from collections.abc import Iterator

from torch import Tensor, nn

from ..codecs.layers.convnext import CausalConvNeXt, CausalStack
from .functions import SIGNATURES
from .operators import convnext

CONSTANTS = SIGNATURES["ConvNeXt"][0][2:]  # by the names of the operator, after the frames and the state


class PlainStack(nn.Module):
    """Blocks one after another. State: one tensor [batch, kernel - 1, 1, channels] per block."""

    def __init__(self, stack: CausalStack) -> None:
        super().__init__()
        self.blocks = list(stack.blocks)
        for number, block in enumerate(self.blocks):
            for name, value in zip(CONSTANTS, _constants(block), strict=True):
                self.register_buffer(f"{name}{number}", value.detach().clone())

    def initial_state(self, batch: int) -> list[Tensor]:
        """Return the states before the first frame."""
        return [block.initial_state(batch)[:, :, None] for block in self.blocks]

    def step(self, x: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the output of the last block for the next frames [batch, frames, 1, channels]."""
        after = []
        for number, (block, before) in enumerate(zip(self.blocks, state, strict=True)):
            constants = [self.get_buffer(f"{name}{number}") for name in CONSTANTS]
            x, late = convnext(x, before, *constants, block.norm.eps)
            after.append(late)
        return x, after


def _constants(block: CausalConvNeXt) -> Iterator[Tensor]:
    """Give the constants of a block in the order in which the operator takes them."""
    yield from (block.mix.weight[..., None], block.mix.bias)  # type: ignore[misc]
    for layer in (block.norm, block.widen, block.narrow):
        yield from (layer.weight, layer.bias)
    yield block.scale
