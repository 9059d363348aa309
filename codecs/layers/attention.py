"""Self-attention within windows of frames that do not overlap, as SNAC has it at 32 and 44 kHz."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ShapeError

HEAD = 64


class LocalAttention(nn.Module):
    """x plus attention among the frames of each window, with rotary positions; frames are a multiple of the window.

    Source: Siuzdak et al., "SNAC: Multi-Scale Neural Audio Codec", 2024, section 3; Su et al., "RoFormer", 2021, equation 34,
    the pairs being channel i and i + 32 of a head.
    """

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.norm = nn.LayerNorm(channels)
        self.to_qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.to_out = nn.Linear(channels, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output for x [batch, channels, frames].

        Raises:
            ShapeError: if the frames do not fill whole windows.
        """
        batch, channels, frames = x.shape
        if frames % self.window:
            raise ShapeError(f"frames must be a multiple of the window {self.window}; got {frames}: pad the audio")
        x = x.transpose(1, 2)
        split = (batch, frames // self.window, self.window, channels // HEAD, HEAD)
        query, key, value = (part.reshape(split).transpose(2, 3) for part in self.to_qkv(self.norm(x)).chunk(3, dim=-1))
        found = F.scaled_dot_product_attention(rotate(query), rotate(key), value)
        return (x + self.to_out(found.transpose(2, 3).reshape(batch, frames, channels))).transpose(1, 2)


def rotate(x: Tensor) -> Tensor:
    """Turn the pairs of each frame of x [..., frames, channels] by angles that grow with its place."""
    half = x.shape[-1] // 2
    pace = 10000 ** -(torch.arange(half, device=x.device, dtype=torch.float32) / half)
    angle = torch.arange(x.shape[-2], device=x.device, dtype=torch.float32)[:, None] * pace
    sine, cosine = angle.sin().to(x.dtype), angle.cos().to(x.dtype)
    left, right = x[..., :half], x[..., half:]
    return torch.cat([left * cosine - right * sine, right * cosine + left * sine], dim=-1)
