"""Signals that tests of metrics share."""

import math
from pathlib import Path

import torch
from torch import Tensor

DAC = Path(__file__).parents[1] / "goldens" / "metrics" / "dac.json"  # values of DAC's own distances


def tone(hertz: float, rate: int = 16000, seconds: float = 1.0) -> Tensor:
    """Return a sine of amplitude 1, [time]."""
    return (2 * math.pi * hertz * torch.arange(int(rate * seconds)) / rate).sin()


def noise(samples: int, seed: int = 0) -> Tensor:
    """Return white noise of variance 1, [time]."""
    return torch.randn(samples, generator=torch.Generator().manual_seed(seed))


def worn(speech: Tensor) -> Tensor:
    """Return speech [time] softer and with an echo: what the goldens were made with."""
    return 0.8 * speech + 0.1 * speech.roll(480)
