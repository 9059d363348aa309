"""`codecs.layers.transformer` in a graph: keys and values of the last frames as rings, one position for each stream.

The graph reads rings of `context - 1` slots and gives the rows of the new frames alone; the caller writes them over the oldest
(`runtime_rings`). Frames of one call see each other beside the ring, not in it, so that nothing is lost that the first of them
still sees, however many they are. A window that moved was copied twice in every call: 16 MB in each direction of Mimi.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..codecs.layers.transformer import Transformer, TransformerLayer
from .convolution import Pass


class PlainTransformer(nn.Module):
    """x [batch, frames, width] through all layers.

    States: `position` int64 [batch], the frames so far; of layer N, rings in which frame n lies in slot n modulo context - 1:
    `key_ring.N` and `value_ring.N` [batch, heads, context - 1, head].
    """

    def __init__(self, transformer: Transformer) -> None:
        super().__init__()
        self.config = transformer.config
        layers = [PlainLayer(layer, n) for n, layer in enumerate(transformer.layers)]
        self.layers, self.names = nn.ModuleList(layers), [name for layer in layers for name in layer.rings]
        pairs = self.config.head // 2
        speed = torch.exp(torch.arange(pairs).double() * (-math.log(self.config.period) / pairs))
        self.register_buffer("turns_per_frame", speed / (2 * math.pi))

    def states(self, batch: int) -> dict[str, Tensor]:
        """Return the states before the first frame."""
        shape = (batch, self.config.heads, self.config.context - 1, self.config.head)
        return {"position": torch.zeros(batch, dtype=torch.int64), **{name: torch.zeros(shape) for name in self.names}}

    def rings(self, rows: str) -> dict[str, tuple[int, str]]:
        """Return the axis of each state that is a ring, and `rows`, how many of them a call gives."""
        return dict.fromkeys(self.names, (2, rows))

    def forward(self, x: Tensor, walk: Pass) -> Tensor:
        """Return the output of the next frames."""
        position = walk.before["position"]
        places = position[:, None] + torch.arange(x.shape[1])
        turn, mask = self._turn(places), self._mask(position, x.shape[1])
        for layer in self.layers:
            x = layer(x, walk, turn, mask)
        walk.after["position"] = position + x.shape[1]
        return x

    def _turn(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and signed sine [batch, 1, frames, head]; whole turns are taken off in 64 bits, the rest needs 32."""
        turns = places.double()[..., None] * self.get_buffer("turns_per_frame")
        angle = ((turns - turns.to(torch.int64).double()) * (2 * math.pi)).float()[:, None]
        cosine, sine = angle.cos(), angle.sin()
        return torch.cat([cosine, cosine], dim=3), torch.cat([-sine, sine], dim=3)

    def _mask(self, position: Tensor, frames: int) -> Tensor:
        """What is added to the scores [batch, 1, frames, context - 1 + frames]: 0, or a great negative number."""
        position, step = position[:, None, None], torch.arange(frames)
        old = 1 + torch.remainder(position - 1 - torch.arange(self.config.context - 1), self.config.context - 1)
        ago = torch.cat([old, -step.expand(position.shape[0], 1, -1)], dim=2)  # of each key, from the first new frame
        distance = ago + step[:, None]
        seen = (ago <= position) & (distance >= 0) & (distance < self.config.context)
        return torch.where(seen, 0.0, -1e30)[:, None]


class PlainLayer(nn.Module):
    """Attention and a perceptron, each behind a norm, scaled per channel, inside a residual."""

    def __init__(self, layer: TransformerLayer, number: int) -> None:
        super().__init__()
        self.config, self.layer, self.rings = layer.config, layer, (f"key_ring.{number}", f"value_ring.{number}")
        scale = layer.config.head**-0.25  # on both sides, so that no product is large
        weight = layer.qkv.weight.detach().clone()
        weight[: 2 * layer.config.width] *= scale
        self.qkv = nn.Parameter(weight)

    def forward(self, x: Tensor, walk: Pass, turn: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        """Return the output of the next frames."""
        layer = self.layer
        x = x + layer.scale1 * layer.out(self._attend(layer.norm1(x), walk, turn, mask))
        return x + layer.scale2 * layer.narrow(F.gelu(layer.widen(layer.norm2(x))))

    def _attend(self, x: Tensor, walk: Pass, turn: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        batch, frames, width = x.shape
        split = (batch, frames, 3, self.config.heads, self.config.head)
        query, key, value = F.linear(x, self.qkv).reshape(split).permute(2, 0, 3, 1, 4).unbind(0)
        query, key = rotated(query, turn), rotated(key, turn)
        keys, values = (walk.before[name] for name in self.rings)
        walk.after.update(zip(self.rings, (key, value), strict=True))
        scores = torch.cat([query @ keys.transpose(2, 3), query @ key.transpose(2, 3)], dim=3)
        weights, before = (scores + mask).softmax(-1), keys.shape[2]
        y = weights[..., :before] @ values + weights[..., before:] @ value
        return y.transpose(1, 2).reshape(batch, frames, width)


def rotated(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate the pairs (n, n + head / 2) of x [batch, heads, frames, head] by angles given as cosine and signed sine."""
    left, right = x.chunk(2, dim=-1)
    return x * turn[0] + torch.cat([right, left], dim=-1) * turn[1]
