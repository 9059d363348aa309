"""Activations by name; each site of a network has its own, since some have weights."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...kernels.elu import elu
from . import rows


class Activation(nn.Module):
    """A function of every sample by itself, which may also be written into given memory."""

    def write(self, x: Tensor, out: Tensor) -> None:
        """Write the activation of x [batch, channels, time] into `out`, which may be x, where `rows.usable`."""
        out.copy_(self(x))

    def overwrite(self, x: Tensor) -> Tensor:
        """Return the activation of x, in the memory of x where no gradient needs it."""
        if not rows.usable(x):
            return self(x)
        self.write(x, x)
        return x


class ELU(Activation):
    """x where x > 0, e^x - 1 elsewhere."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the activation of x, any shape."""
        if not rows.usable(x) or x.dim() != 3:
            return F.elu(x)
        self.write(x, out := torch.empty_like(x))
        return out

    def write(self, x: Tensor, out: Tensor) -> None:
        """Write the activation of x [batch, channels, time] into `out`, which may be x."""
        elu(x, out)


class Snake(Activation):
    """x + sin(alpha x)^2 / alpha, alpha per channel.

    Source: Ziyin et al., "Neural Networks Fail to Learn Periodic Functions and How to Fix It", 2020.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the activation of x [batch, channels, time]."""
        return x + (self.alpha * x).sin().square() / (self.alpha + 1e-9)


def activation(name: str, channels: int) -> Activation:
    """Return a new activation module: "elu" or "snake"."""
    return {"elu": ELU, "snake": lambda: Snake(channels)}[name]()
