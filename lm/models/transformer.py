"""A transformer: norms before each part, rotary positions, with or without a look ahead, and a cache of keys and values.

Sources: Vaswani et al., "Attention Is All You Need", 2017; Su et al., "RoFormer", 2021 (rotary positions).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Cache:
    """Keys and values [batch, heads, positions, width] of the positions that each layer has seen."""

    def __init__(self) -> None:
        self.parts: dict[int, tuple[Tensor, Tensor]] = {}

    @property
    def length(self) -> int:
        """Positions that every layer has seen."""
        return self.parts[0][0].shape[2] if self.parts else 0

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add a layer's new positions and return all of them."""
        if layer in self.parts:
            old = self.parts[layer]
            keys, values = torch.cat([old[0], keys], dim=2), torch.cat([old[1], values], dim=2)
        self.parts[layer] = keys, values
        return keys, values


class Transformer(nn.Module):
    """Blocks over [batch, positions, width], and a norm after the last.

    Args:
        width: of a position.
        layers: blocks.
        heads: of each.
        causal: whether a position sees only those before it, and itself.
        dropout: of what each part adds.
    """

    def __init__(self, width: int, layers: int, heads: int, causal: bool = True, dropout: float = 0.0) -> None:
        super().__init__()
        self.causal, self.heads = causal, heads
        self.blocks = nn.ModuleList([Block(width, heads, dropout) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, keep: Tensor | None = None, cache: Cache | None = None) -> Tensor:
        """Return [batch, positions, width] of positions that follow those in the cache.

        Args:
            x: [batch, positions, width].
            keep: bool [batch, all positions], false for those that no other may see; all may be seen by default.
            cache: of the positions before, extended in place.
        """
        before = 0 if cache is None else cache.length
        turn = angles(before, x.shape[1], x.shape[2] // self.heads, x.device)
        mask = self._mask(x.shape[1], before, keep, x.device)
        for number, block in enumerate(self.blocks):
            x = block(x, turn, mask, None if cache is None else (cache, number))
        return self.norm(x)

    def _mask(self, new: int, before: int, keep: Tensor | None, device: torch.device) -> Tensor | None:
        """Return bool [1 or batch, 1, new, all]; every position sees itself, since one that saw nothing would be NaN."""
        if keep is None and (not self.causal or new == 1):
            return None
        mask = torch.ones(new, before + new, dtype=torch.bool, device=device)
        itself = mask.tril(before).triu(before)
        mask = mask.tril(before) if self.causal else mask
        return mask[None, None] if keep is None else (mask & keep[:, None] | itself)[:, None]


class Block(nn.Module):
    """Attention, then two linear layers with GELU between them, each added to what came in."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.attention_norm, self.linear_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.inward, self.outward = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.linear = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, turn: Tensor, mask: Tensor | None, cache: tuple[Cache, int] | None) -> Tensor:
        """Return [batch, positions, width]; `turn` are the angles of the new positions."""
        x = x + self._drop(self._attend(self.attention_norm(x), turn, mask, cache))
        return x + self._drop(self.linear(self.linear_norm(x)))

    def _attend(self, x: Tensor, turn: Tensor, mask: Tensor | None, cache: tuple[Cache, int] | None) -> Tensor:
        batch, new, width = x.shape
        parts = self.inward(x).view(batch, new, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        queries, keys, values = _rotate(parts[0], turn), _rotate(parts[1], turn), parts[2]
        if cache is not None:
            keys, values = cache[0].extend(cache[1], keys, values)
        heard = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        return self.outward(heard.transpose(1, 2).reshape(batch, new, width))

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


def angles(start: int, count: int, width: int, device: torch.device) -> Tensor:
    """Return the angle of each position and pair of numbers, [count, width / 2]: position * 10000^(-2i / width)."""
    positions = torch.arange(start, start + count, device=device, dtype=torch.float32)
    return positions[:, None] * 10000.0 ** (-torch.arange(0, width, 2, device=device, dtype=torch.float32) / width)


def waves(count: int, width: int, device: torch.device) -> Tensor:
    """Return sines and cosines of the angles of the first positions [count, width], which say where in a sequence one is."""
    turn = angles(0, count, width, device)
    return torch.cat([turn.sin(), turn.cos()], dim=-1)


def _rotate(x: Tensor, turn: Tensor) -> Tensor:
    """Turn each pair of numbers (one of the first half, one of the second) by its angle."""
    first, second = x.chunk(2, dim=-1)
    cos, sin = turn.cos().to(x.dtype), turn.sin().to(x.dtype)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)
