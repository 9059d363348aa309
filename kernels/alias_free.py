"""SnakeBeta at twice the rate over rows [time, channels], in C and in one pass; on the CPU, without gradients.

`codecs.layers.alias_free` has the formula and its source.
"""

from collections.abc import Iterator
from ctypes import c_size_t

from torch import Tensor

from .errors import ShapeError
from .native import address, reading
from .snake_rows import Bend
from .workers import share

TAPS = 12
LEAST_ROWS, VALUES = 256, 1 << 17  # of a thread's part
COST = 130  # floating-point operations of a value


def alias_free(x: Tensor, bend: Bend, taps: Tensor) -> Tensor:
    """Return the activation of x [batch, time, channels], where `native.runs` says so.

    Args:
        x: whose first and last rows are held beyond its ends.
        bend: SnakeBeta's parameters.
        taps: of the low pass [12].

    Raises:
        ShapeError: if the shapes are others, or there is no time.
    """
    if x.dim() != 3 or not x.shape[1] or taps.shape != (TAPS,):
        raise ShapeError(f"x is [batch, time, channels] with time, and there are {TAPS} taps; got {[*x.shape]} and {len(taps)}")
    bend.check(x.shape[2])
    out = x.new_empty(x.shape)
    for item, result in zip(x, out, strict=True):
        _share(item, bend, taps, result)
    return out


def _share(x: Tensor, bend: Bend, taps: Tensor, out: Tensor) -> None:
    """Write rows [time, channels] into `out`; threads take blocks of them in turn."""
    native, (time, channels) = reading(x, *bend, taps, out), x.shape
    assert native is not None
    shape = c_size_t(time), c_size_t(channels)
    constants = [address(part) for part in (*bend, taps)]

    def work_on(parts: Iterator[slice]) -> None:
        for part in parts:
            span = c_size_t(part.start), c_size_t(part.stop)
            native.toneme_alias_free(address(x), *shape, *span, *constants, address(out[part]))

    share(work_on, time, lambda workers: max(LEAST_ROWS, VALUES // max(1, channels)), COST * x.numel())
