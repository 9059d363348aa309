"""Blocks of a convolutional network over images [batch, channels, height, width]: spectrograms, whose height is time.

Sources: He et al., "Identity Mappings in Deep Residual Networks", 2016; Ho et al., "Denoising Diffusion Probabilistic
Models", 2020, appendix B.
"""

from torch import Tensor, nn
from torch.nn import functional as F

GROUPS = 32  # of every norm


def norm(channels: int, eps: float = 1e-6) -> nn.GroupNorm:
    """Return a group norm as these networks have it."""
    return nn.GroupNorm(GROUPS, channels, eps=eps)


class ResidualBlock(nn.Module):
    """x, through a 1 x 1 convolution where the channels change, plus two convolutions, each behind a norm and a SiLU.

    Args:
        inputs, outputs: channels.
        time: channels of an embedding of time that is added, by channel, between the two; 0 for none.
        eps: of the norms.
    """

    def __init__(self, inputs: int, outputs: int, time: int = 0, eps: float = 1e-6) -> None:
        super().__init__()
        self.norm1 = norm(inputs, eps)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.time = nn.Linear(time, outputs) if time else None
        self.norm2 = norm(outputs, eps)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        """Return the output for x and an embedding of time [batch, time]."""
        y = self.conv1(F.silu(self.norm1(x)))
        if self.time is not None and time is not None:
            y = y + self.time(F.silu(time))[..., None, None]
        return self.skip(x) + self.conv2(F.silu(self.norm2(y)))


class Upsample(nn.Module):
    """Every point becomes four alike, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, channels, 2 * height, 2 * width]."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
