"""Half precision on a processor that has no arithmetic for it.

There PyTorch's products of 16-bit numbers take 7 to 50 times as long as those of 32 bits. Both add up in 32 bits, so the
same results come from widened arguments and one rounding at the end.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .full_precision import WHOLE

HALVES = (torch.bfloat16, torch.float16)
PRODUCTS = frozenset(
    [
        torch.conv1d, torch.conv2d, torch.conv_transpose1d, torch.conv_transpose2d, torch.nn.functional.linear,
        torch.matmul, torch.mm, torch.bmm, torch.addmm, torch.baddbmm, torch.einsum, torch.lstm,
        Tensor.matmul, Tensor.__matmul__, Tensor.mm, Tensor.bmm, Tensor.addmm, Tensor.baddbmm,
    ]
)  # fmt: skip


@contextmanager
def inference(module: torch.nn.Module) -> Iterator[None]:
    """Work without gradients, with products in 32 bits where the module's weights need that, and convolutions likewise.

    What is made on no stated device lies on the processor, whatever default the caller set.
    """
    first = next(module.parameters(), None)
    widens, on_gpu = first is not None and lacks_products(first), first is not None and first.is_cuda
    with torch.inference_mode(), WideProducts() if widens else nullcontext(), WHOLE if on_gpu else nullcontext(), _processor():
        yield


@contextmanager
def plain_defaults() -> Iterator[None]:
    """Make modules of 32 bits on the processor, whatever type and device the caller made PyTorch's default."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with _processor():
            yield
    finally:
        torch.set_default_dtype(before)


def _processor() -> AbstractContextManager[Any]:
    # as a context it is asked before every function of PyTorch's, so only where it changes something
    return nullcontext() if torch.empty(0).device.type == "cpu" else torch.device("cpu")


def lacks_products(x: Tensor) -> bool:
    """Return whether x has 16 bits and lies on a processor that multiplies 32 bits alone."""
    return x.dtype in HALVES and x.device.type == "cpu" and not multiplies(x.dtype)


@cache
def multiplies(dtype: torch.dtype) -> bool:
    """Return whether this processor multiplies numbers of 16 bits, so far as PyTorch makes use of it."""
    name = "_is_mkldnn_bf16_supported" if dtype is torch.bfloat16 else "_is_mkldnn_fp16_supported"
    return torch.backends.mkldnn.is_available() and bool(getattr(torch.ops.mkldnn, name)())


class WideProducts(TorchFunctionMode):
    """Within it, products of 16-bit tensors are formed in 32 bits and rounded once."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function of PyTorch's."""
        kwargs = kwargs or {}
        dtype = _half(args) if func in PRODUCTS else None
        if dtype is None:
            return func(*args, **kwargs)
        wide = _each(kwargs, torch.Tensor.float, HALVES)
        return _each(func(*_each(args, torch.Tensor.float, HALVES), **wide), lambda x: x.to(dtype), (torch.float32,))


def _half(values: Any) -> torch.dtype | None:
    """Return the first 16-bit type of tensors in nested sequences."""
    if isinstance(values, Tensor):
        return values.dtype if values.dtype in HALVES else None
    found = (_half(value) for value in values) if isinstance(values, tuple | list) else ()
    return next((dtype for dtype in found if dtype), None)


def _each(values: Any, change: Callable[[Tensor], Tensor], dtypes: tuple[torch.dtype, ...]) -> Any:
    """Return nested values whose tensors of these types are changed."""
    if isinstance(values, Tensor):
        return change(values) if values.dtype in dtypes else values
    if isinstance(values, dict):
        return {name: _each(value, change, dtypes) for name, value in values.items()}
    return type(values)(_each(value, change, dtypes) for value in values) if isinstance(values, tuple | list) else values
