"""The U-Net of a latent diffusion model: what to take away from noisy latents, given a sequence that describes the audio.

Sources: Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", 2022; Liu et al., "AudioLDM", 2023, and
"AudioLDM 2", 2023 (a transformer of the image alone before each one that sees the sequence).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .image import ResidualBlock, Upsample, norm

Seen = tuple[Tensor, Tensor]  # keys and values [batch, heads, length, head] of a sequence


@dataclass(frozen=True)
class UNetConfig:
    """The sizes.

    Attributes:
        latents: channels that go in and come out.
        width: channels of the first level.
        multiples: of that width, one per level; each level has half the height and width of the one before.
        blocks: residual blocks of a level on the way down; one more on the way up.
        attends: whether a level has transformers, one per level.
        head: channels of one head of attention.
        context: channels of the sequence.
    """

    latents: int = 8
    width: int = 64
    multiples: tuple[int, ...] = (1, 2, 3, 5)
    blocks: int = 2
    attends: tuple[bool, ...] = (False, True, True, True)
    head: int = 32
    context: int = 1728

    @property
    def time(self) -> int:
        """Channels of the embedding of time."""
        return 4 * self.width


class Attention(nn.Module):
    """Attention of x to a sequence, without biases at its entry."""

    def __init__(self, width: int, context: int, head: int) -> None:
        super().__init__()
        self.head = head
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(context, width, bias=False)
        self.value = nn.Linear(context, width, bias=False)
        self.out = nn.Linear(width, width)

    def read(self, sequence: Tensor) -> Seen:
        """Return the keys and values of a sequence [batch, length, context]."""
        return self._split(self.key(sequence)), self._split(self.value(sequence))

    def forward(self, x: Tensor, seen: Seen) -> Tensor:
        """Return the output for x [batch, points, width]."""
        found = F.scaled_dot_product_attention(self._split(self.query(x)), *seen)
        return self.out(found.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head)).transpose(1, 2)


class SpatialTransformer(nn.Module):
    """x plus a transformer block over its points: attention among them, attention to a sequence, a gated perceptron.

    Without a sequence (context 0) the second attention is among the points again.
    """

    def __init__(self, width: int, head: int, context: int = 0) -> None:
        super().__init__()
        self.reads = context > 0
        self.norm = norm(width)
        self.enter = nn.Conv2d(width, width, 1)
        self.norm1 = nn.LayerNorm(width)
        self.attention1 = Attention(width, width, head)
        self.norm2 = nn.LayerNorm(width)
        self.attention2 = Attention(width, context or width, head)
        self.norm3 = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 8 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.leave = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor, seen: Seen | None = None) -> Tensor:
        """Return the output for x [batch, width, height, width of the image]."""
        y = self.enter(self.norm(x)).flatten(2).transpose(1, 2)
        own = self.norm1(y)
        y = y + self.attention1(own, self.attention1.read(own))
        own = self.norm2(y)
        y = y + self.attention2(own, seen or self.attention2.read(own))
        value, gate = self.widen(self.norm3(y)).chunk(2, dim=-1)
        y = y + self.narrow(value * F.gelu(gate))
        return x + self.leave(y.transpose(1, 2).unflatten(2, x.shape[2:]))


class Site(nn.Sequential):
    """Layers one after another, each given what it takes of time and sequence."""

    def forward(self, x: Tensor, time: Tensor, seen: Iterator[Seen]) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the output for an image x; each transformer that reads takes the next of `seen`."""
        for layer in self:
            if isinstance(layer, ResidualBlock):
                x = layer(x, time)
            elif isinstance(layer, SpatialTransformer) and layer.reads:
                x = layer(x, next(seen))
            else:
                x = layer(x)
        return x


class UNet(nn.Module):
    """Noisy latents, a time and a sequence to what the latents' noise and signal are told apart by."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * multiple for multiple in config.multiples]
        last = len(widths) - 1
        self.time = nn.Sequential(nn.Linear(config.width, config.time), nn.SiLU(), nn.Linear(config.time, config.time))
        down, width, skips = [Site(nn.Conv2d(config.latents, config.width, 3, padding=1))], config.width, [config.width]
        for level, wide in enumerate(widths):
            for _ in range(config.blocks):
                down.append(self._site(width, wide, config.attends[level]))
                skips.append(width := wide)
            if level < last:
                down.append(Site(nn.Conv2d(wide, wide, 3, stride=2, padding=1)))
                skips.append(wide)
        self.down = nn.ModuleList(down)
        self.middle = Site(*self._site(width, width, True), self._block(width, width))
        self.up = nn.ModuleList()
        for level, wide in reversed(list(enumerate(widths))):
            for number in range(config.blocks + 1):
                site = self._site(width + skips.pop(), wide, config.attends[level])
                self.up.append(Site(*site, Upsample(wide)) if level and number == config.blocks else site)
                width = wide
        self.leave = nn.Sequential(norm(width, 1e-5), nn.SiLU(), nn.Conv2d(width, config.latents, 3, padding=1))

    def read(self, sequence: Tensor) -> list[Seen]:
        """Return what each transformer sees of a sequence [batch, length, context]: it is the same at every time."""
        parts = [part for part in self.modules() if isinstance(part, SpatialTransformer) and part.reads]
        return [part.attention2.read(sequence) for part in parts]

    def forward(self, x: Tensor, time: Tensor, seen: list[Seen]) -> Tensor:
        """Return the prediction [batch, latents, height, width] for latents x of that shape.

        Args:
            x: height and width are multiples of 2 to the power of the levels less one.
            time: [batch], steps of the diffusion.
            seen: of `read`.
        """
        embedded, parts = self.time(embed_time(time, self.config.width).to(x.dtype)), iter(seen)
        skips = []
        for site in self.down:
            skips.append(x := site(x, embedded, parts))
        x = self.middle(x, embedded, parts)
        for site in self.up:
            x = site(torch.cat([x, skips.pop()], dim=1), embedded, parts)
        return self.leave(x)

    def _site(self, inputs: int, outputs: int, attends: bool) -> Site:
        head, context = self.config.head, self.config.context
        both = (SpatialTransformer(outputs, head), SpatialTransformer(outputs, head, context)) if attends else ()
        return Site(self._block(inputs, outputs), *both)

    def _block(self, inputs: int, outputs: int) -> ResidualBlock:
        return ResidualBlock(inputs, outputs, self.config.time, 1e-5)


def embed_time(time: Tensor, width: int) -> Tensor:
    """Return cosines and sines [batch, width] of times [batch], periods from 2 pi to 20,000 pi."""
    pace = torch.exp(torch.arange(width // 2, device=time.device) * (-math.log(10000) / (width // 2)))
    angle = time[:, None].float() * pace
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


def embed_places(length: int, channels: int) -> Tensor:
    """Return sines and cosines [length, channels], in turn, of places from 0.

    Source: Vaswani et al., "Attention Is All You Need", 2017, section 3.5.
    """
    pace = torch.exp(torch.arange(0, channels, 2) * (-math.log(10000) / channels))
    angle = torch.arange(length)[:, None] * pace
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)
