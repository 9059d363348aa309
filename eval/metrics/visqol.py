"""ViSQOL, mean opinion score from 1 to 5 (speech) or about 4.73 (audio), higher is better.

Source: Chinen et al., "ViSQOL v3: An Open Source Production Ready Objective Speech and Audio Metric", 2020, computed by the
package `visqol-python`, a translation of the official C++: its speech mode (16 kHz, the polynomial mapping scaled to 5, not the
lattice) for speech, its audio mode (48 kHz, support-vector regression) for the rest. The two scales are not one. ViSQOL aligns
in time by itself.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from torch import Tensor

from ...codecs.audio_resampling import resample
from ...codecs.errors import AudioError
from . import OTHER, SPEECH, Metric, check_audible, check_same_shape, missing_package

RATES = {"speech": 16000, "audio": 48000}


def visqol(estimate: Tensor, target: Tensor, sample_rate: int, mode: str = "speech") -> float:
    """Return ViSQOL of one item, estimate and target [time] at `sample_rate` Hz, in the mode "speech" or "audio".

    Raises:
        AudioError: if the target is silent, or the measure is undefined for these signals.
        MissingDependencyError: if the package is not installed.
        ShapeError: if the shapes differ.
    """
    check_same_shape(estimate, target)
    check_audible(target, "ViSQOL")
    ours, theirs = (resample(x, sample_rate, RATES[mode]).double().numpy() for x in (estimate, target))
    measure = _scorer(mode)
    try:
        with np.errstate(divide="ignore", invalid="ignore"):  # the package scales a silent estimate to the target's level
            return float(measure.measure_from_arrays(theirs, ours, RATES[mode]).moslqo)
    except (ValueError, RuntimeError, IndexError, ZeroDivisionError) as error:
        raise AudioError(f"ViSQOL is undefined for this clip ({error}): leave it out and say so") from None


@lru_cache
def _scorer(mode: str) -> Any:
    try:
        from visqol.api import VisqolApi
    except ImportError:
        raise missing_package("ViSQOL", "visqol-python") from None
    scorer = VisqolApi()
    if mode == "speech":
        scorer.create(mode=mode, use_lattice_model=False)
    else:
        scorer.create(mode=mode)
    return scorer


def _audio(estimate: Tensor, target: Tensor, sample_rate: int) -> float:
    return visqol(estimate, target, sample_rate, "audio")


METRICS = (
    Metric(
        name="visqol_speech", label="ViSQOL speech", unit="MOS", better="higher", group="quality", version=2, compute=visqol,
        sample_rate=16000, domains=SPEECH, packages=("visqol-python",),
    ),
    Metric(
        name="visqol_audio", label="ViSQOL audio", unit="MOS", better="higher", group="quality", version=2, compute=_audio,
        sample_rate=48000, domains=OTHER, packages=("visqol-python",),
    ),
)  # fmt: skip
