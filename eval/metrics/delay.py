"""Delay of the estimate, in ms, nearest to zero is best: where the cross-correlation with the target is largest.

Whole-sample lags up to 100 ms either way. A codec promises 0; anything else explains poor values of metrics that do not align.
"""

import torch
from torch import Tensor

from ...codecs.errors import AudioError
from . import Metric, check_same_shape

FARTHEST = 0.1  # seconds


def delay(estimate: Tensor, target: Tensor, sample_rate: int) -> float:
    """Return how many ms the estimate [time] comes after the target [time]; negative where it comes before.

    Raises:
        AudioError: if one of them is silent.
        ShapeError: if the shapes differ.
    """
    check_same_shape(estimate, target)
    if not (bool(estimate.any()) and bool(target.any())):
        raise AudioError("the delay of silence is undefined: leave this clip out and say so")
    size, farthest = 2 * len(target), min(int(FARTHEST * sample_rate), len(target) - 1)
    product = torch.fft.rfft(estimate, size) * torch.fft.rfft(target, size).conj()
    correlation = torch.fft.irfft(product, size).roll(farthest)[: 2 * farthest + 1]
    return 1000 * (int(correlation.argmax()) - farthest) / sample_rate


METRICS = (Metric(name="delay", label="delay", unit="ms", better="zero", group="waveform", compute=delay),)
