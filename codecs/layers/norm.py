"""Normalization over a whole stretch of time."""

from torch import Tensor, nn

from ...kernels.group_norm import group_norm
from . import rows


class TimeGroupNorm(nn.GroupNorm):
    """Each item of [batch, channels, time] to mean 0 and variance 1 over both, then a gain and a bias per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__(1, channels)

    def overwrite(self, x: Tensor) -> Tensor:
        """Return x normalized, in the memory of x where no gradient needs it."""
        if not rows.usable(x) or not x.numel():
            return self(x)
        for item in x:
            group_norm(item.T, self.weight, self.bias, self.eps)
        return x
