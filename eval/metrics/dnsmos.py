"""DNSMOS P.835, overall mean opinion score from 1 to 5, higher is better; the target is not looked at.

Source: Reddy et al., "DNSMOS P.835: A Non-Intrusive Perceptual Objective Speech Quality Metric to Evaluate Noise Suppressors",
2022: the network `sig_bak_ovr.onnx` of Microsoft's DNS-Challenge repository over windows of 9.01 s every second (shorter audio
is repeated), its overall output mapped by the polynomial published with it, mean over windows. At 16 kHz.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ...kernels.onnx_runtime import load_onnxruntime
from ..weights import find_weights
from . import SPEECH, Metric, missing_package

RATE, SECONDS = 16000, 9.01
FILE = "sig_bak_ovr.onnx"
POLYNOMIAL = (-0.06766283, 1.11546468, 0.04602535)
OVERALL = 2  # of the outputs: signal, background, overall


def dnsmos(estimate: Tensor, target: Tensor, sample_rate: int = RATE) -> float:
    """Return the overall DNSMOS of an estimate [time] at 16 kHz.

    Raises:
        MissingDependencyError: if onnxruntime or the weights are missing.
    """
    audio, size = estimate.float().numpy(), int(SECONDS * RATE)
    while len(audio) < size:
        audio = np.concatenate([audio, audio])
    windows = int(len(audio) // RATE - SECONDS) + 1
    pieces = [audio[i * RATE : i * RATE + size] for i in range(windows)]
    session = _session(find())
    raw = [float(session.run(None, {"input_1": piece[None]})[0][0, OVERALL]) for piece in pieces if len(piece) == size]
    return float(np.mean(np.polyval(POLYNOMIAL, raw)))


def find() -> Path:
    """Return the folder of the weights; see `find_weights`."""
    return find_weights("dnsmos", (FILE,))


@lru_cache
def _session(folder: Path) -> Any:
    try:
        onnxruntime = load_onnxruntime()
    except ImportError:
        raise missing_package("DNSMOS", "onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(folder / FILE), options, providers=["CPUExecutionProvider"])


METRICS = (
    Metric(
        name="dnsmos", label="DNSMOS", unit="MOS", better="higher", group="learned", compute=dnsmos,
        sample_rate=RATE, domains=SPEECH, packages=("onnxruntime",), ready=find,
    ),
)  # fmt: skip
