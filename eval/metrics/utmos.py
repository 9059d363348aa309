"""UTMOS, mean opinion score from 1 to 5, higher is better; the target is not looked at.

Source: Saeki et al., "UTMOS: UTokyo-SaruLab System for VoiceMOS Challenge 2022", 2022: its strong learner as one TorchScript
file that takes float audio [1, samples] at 16 kHz and returns the score.
"""

from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from ..weights import find_weights
from . import SPEECH, Metric

RATE = 16000
FILE, REPOSITORY = "utmos.jit", "balacoon/utmos"


@torch.inference_mode()
def utmos(estimate: Tensor, target: Tensor, sample_rate: int = RATE) -> float:
    """Return UTMOS of an estimate [time] at 16 kHz.

    Raises:
        MissingDependencyError: if the weights are missing.
    """
    return float(_model(find())(estimate.float()[None]).mean())


def find() -> Path:
    """Return the folder of the weights; see `find_weights`."""
    return find_weights("utmos", (FILE,), REPOSITORY)


@lru_cache
def _model(folder: Path) -> torch.jit.ScriptModule:
    return torch.jit.load(folder / FILE, map_location="cpu").eval()


METRICS = (
    Metric(
        name="utmos", label="UTMOS", unit="MOS", better="higher", group="learned", compute=utmos,
        sample_rate=RATE, domains=SPEECH, ready=find,
    ),
)  # fmt: skip
