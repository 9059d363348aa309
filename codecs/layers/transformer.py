"""Transformer: causal with rotary positions and a window of attention, whole or piece by piece, or over all frames at once.

x is [batch, frames, width]. Of a causal one, `state = transformer.initial_state(batch)`, then
`y, state = transformer.step(x, state)`; the pieces joined equal `forward` of the whole. The state is the keys and values
of the last `context - 1` frames, so that every frame sees itself and those, and how many frames there have been.

Sources: Vaswani et al., "Attention Is All You Need", 2017; Su et al., "RoFormer", 2021 (rotary positions); Touvron et al.,
"Going deeper with Image Transformers", 2021 (layer scale).
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import CheckpointError, ShapeError
from .linear import Linear

BLOCK_FRAMES = 128  # frames worked on at once, so that attention over a long signal stays a narrow band


@dataclass(frozen=True)
class TransformerConfig:
    """The sizes.

    Attributes:
        width: channels.
        heads: that share the width.
        layers: how many.
        hidden: width inside the perceptrons.
        context: frames that a frame sees, itself included.
        period: of the slowest rotation, frames over 2 pi.
        scale: that layer scales start from, None for no scales.
        norm: "layer" or "rms".
        activation: of the perceptrons, "gelu" or "silu".
        causal: a frame sees the `context` frames up to its own. Without, it sees all frames, and there is nothing to step.
        positions: that queries and keys are rotated by: "frame", "none", or "head", the number of the head, as in X-Codec-2's
            published code, which leaves every product of a query and a key as it was.
    """

    width: int = 512
    heads: int = 8
    layers: int = 8
    hidden: int = 2048
    context: int = 250
    period: float = 10000.0
    scale: float | None = 0.01
    norm: str = "layer"
    activation: str = "gelu"
    causal: bool = True
    positions: str = "frame"

    def __post_init__(self) -> None:
        if self.width % (2 * self.heads) or self.context < 1:
            raise CheckpointError(
                f"a transformer needs whole pairs per head and a context; got {self.width}, {self.heads}, {self.context}"
            )
        kinds = (self.norm, NORMS), (self.activation, ACTIVATIONS), (self.positions, ("frame", "head", "none"))
        if any(kind not in known for kind, known in kinds):
            raise CheckpointError(f"a transformer knows {'; '.join(', '.join(known) for _, known in kinds)}; got {self}")
        if not self.causal and self.positions == "frame":
            raise CheckpointError(
                "where every frame sees all, there are no positions of frames: positions must be head or none"
            )

    @property
    def head(self) -> int:
        """Channels of one head."""
        return self.width // self.heads


NORMS = {"layer": partial(nn.LayerNorm, eps=1e-5), "rms": partial(nn.RMSNorm, eps=1e-6)}
ACTIVATIONS = {"gelu": F.gelu, "silu": F.silu}


class TransformerLayer(nn.Module):
    """Attention and a perceptron, each behind a norm, scaled per channel, inside a residual.

    State: keys and values of the frames before, [2, batch, heads, context - 1, head]; None where every frame sees all.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.norm1 = NORMS[config.norm](config.width)
        self.qkv = Linear(config.width, 3 * config.width, bias=False)
        self.out = Linear(config.width, config.width, bias=False)
        self.scale1 = _scale(config)
        self.norm2 = NORMS[config.norm](config.width)
        self.widen = Linear(config.width, config.hidden, bias=False)
        self.narrow = Linear(config.hidden, config.width, bias=False)
        self.scale2 = _scale(config)

    def step(
        self, x: Tensor, state: Tensor | None, turn: tuple[Tensor, Tensor] | None, mask: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the output of the next frames, and the new state."""
        attended, state = self._attend(self.norm1(x), state, turn, mask)
        x = _added(x, self.scale1, self.out(attended))
        inner = ACTIVATIONS[self.config.activation](self.widen(self.norm2(x)))
        return _added(x, self.scale2, self.narrow(inner)), state

    def _attend(
        self, x: Tensor, state: Tensor | None, turn: tuple[Tensor, Tensor] | None, mask: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        parts = self.qkv(x).unflatten(-1, (3, self.config.heads, self.config.head)).permute(2, 0, 3, 1, 4)
        turned = parts[:2] if turn is None else rotate(parts[:2], turn)  # [2, batch, heads, frames, head]
        if state is None:
            return F.scaled_dot_product_attention(turned[0], turned[1], parts[2]).transpose(1, 2).flatten(2), None
        seen = torch.cat([state, torch.stack([turned[1], parts[2]])], dim=3)
        y = F.scaled_dot_product_attention(turned[0], seen[0], seen[1], attn_mask=mask)
        return y.transpose(1, 2).flatten(2), seen[:, :, :, seen.shape[3] - self.config.context + 1 :]


class Transformer(nn.Module):
    """Layers one after another.

    State: frames so far, an int64 scalar, then one tensor per layer.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = cast("list[TransformerLayer]", nn.ModuleList(TransformerLayer(config) for _ in range(config.layers)))

    def initial_state(self, batch: int) -> list[Tensor]:
        """Return the state before the first frame."""
        config, like = self.config, self.layers[0].out.weight
        kept = like.new_zeros(2, batch, config.heads, config.context - 1, config.head)
        return [torch.zeros((), dtype=torch.int64, device=like.device)] + [kept] * config.layers

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of a whole signal."""
        if self.config.causal:
            return self.step(x, self.initial_state(x.shape[0]))[0]
        turn = None
        if self.config.positions == "head":
            cosine, sine = self._turn(torch.zeros((), device=x.device), self.config.heads, x.dtype)
            turn = cosine[:, None], sine[:, None]
        for layer in self.layers:
            x = layer.step(x, None, turn, None)[0]
        return x

    def step(self, x: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the output of the next frames, and the new state."""
        if not self.config.causal:
            raise ShapeError("a transformer that sees all frames has no step: call it on the whole signal")
        pieces = []
        for piece in x.split(BLOCK_FRAMES, dim=1) if x.shape[1] > BLOCK_FRAMES else (x,):
            y, state = self._step(piece, state)
            pieces.append(y)
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=1), state

    def _step(self, x: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        frames, (position, *kept) = x.shape[1], state
        turn = self._turn(position, frames, x.dtype) if self.config.positions == "frame" else None
        mask, after = self._mask(position, frames), []
        for layer, before in zip(self.layers, kept, strict=True):
            x, seen = layer.step(x, before, turn, mask)
            after.append(cast("Tensor", seen))
        return x, [position + frames, *after]

    def _turn(self, position: Tensor, frames: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosine and signed sine [frames, head] of the angles by which each pair of channels is rotated."""
        pairs = self.config.head // 2
        # in 64 bits, since a stream of hours would lose the fractions of large angles
        speed = torch.exp(torch.arange(pairs, device=position.device).double() * (-math.log(self.config.period) / pairs))
        angle = (position + torch.arange(frames, device=position.device)).double()[:, None] * speed
        cosine, sine = angle.cos().to(dtype), angle.sin().to(dtype)
        return torch.cat([cosine, cosine], dim=1), torch.cat([-sine, sine], dim=1)

    def _mask(self, position: Tensor, frames: int) -> Tensor:
        """Which keys [frames, context - 1 + frames] a frame sees: the last `context`, as far as there have been any."""
        before = self.config.context - 1
        query = torch.arange(frames, device=position.device)[:, None]
        key = torch.arange(before + frames, device=position.device)
        return (key >= query) & (key <= query + before) & (key >= before - position)


def _scale(config: TransformerConfig) -> nn.Parameter | None:
    return None if config.scale is None else nn.Parameter(torch.full((config.width,), config.scale))


def _added(x: Tensor, scale: Tensor | None, y: Tensor) -> Tensor:
    return x + y if scale is None else torch.addcmul(x, scale, y)


def rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate the pairs (n, n + head / 2) of x [..., frames, head] by angles given as cosine and signed sine."""
    cosine, sine = turn
    return torch.addcmul(x * cosine, x.roll(x.shape[-1] // 2, -1), sine)


def half_split(weight: Tensor, heads: int) -> Tensor:
    """Reorder the rows of a query or key matrix [width, inputs] that rotates neighbours (2n, 2n + 1) to rotate halves."""
    return weight.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2)
