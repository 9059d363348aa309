"""How a gradient passes a quantizer, which itself has none: straight through, or turned with the code.

Sources: Bengio, Leonard and Courville, 2013 (straight through); Fifty et al., "Restructuring Vector Quantization with the
Rotation Trick", 2024.
"""

from collections.abc import Callable

from torch import Tensor

from ..kernels.errors import ShapeError
from ..kernels.rotation import rotate


def straight_through(x: Tensor, quantized: Tensor) -> Tensor:
    """`quantized`, with the gradient of x."""
    return x + (quantized - x).detach()


_GRADIENTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"straight_through": straight_through, "rotation": rotate}


def gradient_named(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The function (x, quantized) [N, dim] -> quantized with a gradient to x.

    Raises:
        ShapeError: if there is none of that name.
    """
    if name not in _GRADIENTS:
        raise ShapeError(f"gradient must be one of {sorted(_GRADIENTS)}; got {name!r}")
    return _GRADIENTS[name]
