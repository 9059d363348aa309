"""Whole numbers that callers give in many types: plain, NumPy's, tensors."""

import operator
from typing import TYPE_CHECKING, Any

from .errors import ShapeError

if TYPE_CHECKING:
    from torch import Tensor


def whole(value: Any, what: str) -> int:
    """Return a whole number of any type as an int; `what` names it in the error.

    Raises:
        ShapeError: if it is not a whole number.
    """
    try:
        return operator.index(value)
    except TypeError:
        raise ShapeError(f"{what} must be a whole number; got {value!r}") from None


def counts(values: Any, what: str) -> "Tensor":
    """Return whole numbers, one for each item, as int64 on the CPU.

    Numbers with a point are refused: those that others call relative lengths, from 0 to 1, would become nothing.

    Raises:
        ShapeError: if they are not whole numbers.
    """
    import torch  # here alone: exported codecs, which use `whole`, run without

    try:
        given = torch.as_tensor(values if hasattr(values, "ndim") else list(values), device="cpu")
    except (TypeError, ValueError, RuntimeError):
        raise _unlike(what, values) from None
    if given.ndim > 1 or (given.numel() and (given.is_floating_point() or given.is_complex() or given.dtype == torch.bool)):
        raise _unlike(what, values)
    return given.long()


def _unlike(what: str, values: Any) -> ShapeError:
    return ShapeError(f"{what} must be whole numbers, one for each item; got {str(values)[:80]}")
