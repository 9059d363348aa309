"""Python's own pauses: a full collection of garbage looks at every object, a tenth of a second once PyTorch is imported."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def left_out() -> Iterator[None]:
    """Clear up, and leave all objects that there are out of collections until the end: for live audio, which cannot wait."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
