"""Snake and SnakeBeta activations, x + sin(ax)^2 / b per channel; Snake is the case b = a.

Sources: Ziyin, Hartwig and Ueda, "Neural Networks Fail to Learn Periodic Functions", 2020 (Snake); Lee et al., "BigVGAN", 2022,
and its published code (SnakeBeta, whose parameters are often stored as logarithms: pass their exponentials).
"""

import torch
from torch import Tensor

from .errors import ShapeError
from .launching import on_gpu

EPSILON = 1e-9  # as in the field's published code; keeps a frequency of zero finite


def snake_reference(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """The definition, for x [batch, channels, time] and one alpha and beta per channel [channels]."""
    return x + (alpha[:, None] * x).sin().square() / (beta[:, None] + EPSILON)


def snake(x: Tensor, alpha: Tensor) -> Tensor:
    """Snake of x [batch, channels, time]; alpha [channels], in radians per unit of x.

    Raises:
        ShapeError: if alpha does not hold one value per channel.
    """
    return snake_beta(x, alpha, alpha)


def snake_beta(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """SnakeBeta of x [batch, channels, time]; on a GPU one pass forward and one backward, the definition elsewhere.

    Args:
        x: [batch, channels, time], float.
        alpha: [channels], the frequency in radians per unit of x.
        beta: [channels], the inverse of the amplitude.

    Raises:
        ShapeError: if alpha and beta do not hold one value per channel.
    """
    if x.dim() != 3 or alpha.shape != (x.shape[1],) or beta.shape != alpha.shape:
        shapes = ", ".join(str([*t.shape]) for t in (x, alpha, beta))
        raise ShapeError(f"snake takes x [batch, channels, time] and alpha, beta [channels]; got {shapes}")
    on_chip = on_gpu(x) and x.dtype != torch.float64  # the programs reckon in 32 bits
    return _forward(x.contiguous(), alpha, beta) if on_chip else snake_reference(x, alpha, beta)


def snake_backward_reference(x: Tensor, alpha: Tensor, beta: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, alpha and beta, of that of the output."""
    a, b = alpha[:, None], beta[:, None] + EPSILON
    double, square = (2 * a * x).sin(), (a * x).sin().square()
    sums = (0, 2)
    return gradient * (1 + a * double / b), (gradient * x * double / b).sum(sums), -(gradient * square / b**2).sum(sums)


@torch.library.custom_op("toneme::snake", mutates_args=())
def _forward(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    if not x.is_cuda:
        return snake_reference(x, alpha, beta)
    from .snake_triton import forward

    return forward(x, alpha, beta)


@_forward.register_fake
def _(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("toneme::snake_backward", mutates_args=())
def _backward(x: Tensor, alpha: Tensor, beta: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    if not x.is_cuda:
        return snake_backward_reference(x, alpha, beta, gradient)
    from .snake_triton import backward

    return backward(x, alpha, beta, gradient)


@_backward.register_fake
def _(x: Tensor, alpha: Tensor, beta: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(alpha), torch.empty_like(beta)


def _save(ctx, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _gradients(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return _backward(*ctx.saved_tensors, gradient.contiguous())


_forward.register_autograd(_gradients, setup_context=_save)
