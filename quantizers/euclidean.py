"""Vector quantization by euclidean distance, with a codebook that follows its members' moving average.

Source: van den Oord et al., "Neural Discrete Representation Learning", 2017.
"""

from typing import Any

from .residual import ResidualVQ


class EuclideanVQ(ResidualVQ):
    """One codebook of `size` codes: a residual quantizer of depth one."""

    def __init__(self, dim: int, size: int, **options: Any) -> None:
        super().__init__(dim, size, depth=1, **options)
