"""Convolutions and recurrent layers of a GPU in 32 bits, as those of a processor are.

PyTorch lets cuDNN round their factors to 10 bits of mantissa (TF32) unless it is told otherwise, though not matrix products. A
latent that moves by 2^-11 of itself crosses from one code's cell to another's now and then, and in a residual chain all codes
after it change as well.
"""

from threading import Lock
from types import TracebackType

import torch

LAYERS = ("conv", "rnn")


class WholeNumbers:
    """A context without TF32 in cuDNN, for any number of threads at a time: the setting is that of the whole process."""

    def __init__(self) -> None:
        self.lock, self.inside = Lock(), 0
        self.before: bool | list[str] = True

    def __enter__(self) -> None:
        with self.lock:
            self.inside += 1
            if self.inside == 1:
                self.before = _setting()
                _set(False if isinstance(self.before, bool) else ["ieee"] * len(LAYERS))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                _set(self.before)


def _setting() -> bool | list[str]:
    """Return PyTorch's older setting, or its newer ones where a caller used those: then it refuses to read the older."""
    try:
        return torch.backends.cudnn.allow_tf32
    except RuntimeError:
        return [getattr(torch.backends.cudnn, layer).fp32_precision for layer in LAYERS]


def _set(setting: bool | list[str]) -> None:
    if isinstance(setting, bool):
        torch.backends.cudnn.allow_tf32 = setting
        return
    for layer, precision in zip(LAYERS, setting, strict=True):
        getattr(torch.backends.cudnn, layer).fp32_precision = precision


WHOLE = WholeNumbers()
