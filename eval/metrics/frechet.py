"""Frechet distance of a set of clips, no unit (squared distance of Gaussians), lower is better.

Source: Kilgour et al., "Frechet Audio Distance: A Metric for Evaluating Music Enhancement Algorithms", 2019, over an embedding
that needs no download: at 24 kHz, windows of 1 s every 0.5 s (a shorter clip is one window), mean and standard deviation over
time of log10 of 24 Slaney mel magnitudes (window 1024, hop 256, from 1e-5 up), so 48 dimensions. Estimates are compared with
the targets of the same clips. With WavLM's weights (see `speaker`) there is a second one over the mean of its last layer, 768
dimensions.
"""

import numpy as np
import torch
from torch import Tensor

from ...codecs.errors import AudioError
from ..spectra import mel_magnitudes
from . import SPEECH, SetMetric
from .speaker import find, load_xvectors

RATE, WAVLM_RATE = 24000, 16000  # Hz
WINDOW, MELS, FLOOR = 1024, 24, 1e-5


def frechet_distance(estimates: np.ndarray, targets: np.ndarray) -> float:
    """Return |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of embeddings [n, dimensions] and [m, dimensions].

    Raises:
        AudioError: if there are not more embeddings than dimensions, where covariances have no full rank.
    """
    fewest, dimensions = min(len(estimates), len(targets)), targets.shape[1]
    if fewest <= dimensions:
        raise AudioError(f"the Frechet distance needs more than {dimensions} windows of audio; got {fewest}: take more clips")
    means = estimates.mean(0, dtype=np.float64) - targets.mean(0, dtype=np.float64)
    first, second = (np.cov(x.astype(np.float64), rowvar=False) for x in (estimates, targets))
    values, vectors = np.linalg.eigh(first)
    root = vectors * np.sqrt(values.clip(min=0)) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ second @ root).clip(min=0)).sum()
    return float(means @ means + np.trace(first) + np.trace(second) - 2 * shared)


def mel_statistics(waveform: Tensor, sample_rate: int = RATE) -> np.ndarray:
    """Return the embeddings [windows, 48] of a waveform [time] at 24 kHz.

    Raises:
        AudioError: if it is shorter than a spectrum's window.
    """
    if len(waveform) < WINDOW:
        raise AudioError(f"an embedding needs {WINDOW / RATE:.3f} s of audio; got {len(waveform) / RATE:.3f} s")
    logs = torch.stack([_log_mels(piece) for piece in _windows(waveform, RATE)])
    return torch.cat([logs.mean(1), logs.std(1)], dim=1).numpy()


@torch.inference_mode()
def wavlm_mean(waveform: Tensor, sample_rate: int = WAVLM_RATE) -> np.ndarray:
    """Return the embeddings [windows, 768] of a waveform [time] at 16 kHz."""
    extractor, model = load_xvectors(find())
    audio = [extractor(x.numpy(), sampling_rate=WAVLM_RATE, return_tensors="pt") for x in _windows(waveform, WAVLM_RATE)]
    return torch.cat([model.wavlm(piece.input_values).last_hidden_state.mean(1) for piece in audio]).numpy()


def _windows(waveform: Tensor, rate: int) -> Tensor:
    """Return windows [n, time] of 1 s every 0.5 s, or the whole where it is shorter."""
    return waveform.unfold(0, rate, rate // 2) if len(waveform) > rate else waveform[None]


def _log_mels(waveform: Tensor) -> Tensor:
    return mel_magnitudes(waveform[None], WINDOW, MELS, RATE)[0].clamp(min=FLOOR).log10()


METRICS = (
    SetMetric(
        name="frechet_mel", label="Frechet (log-mel statistics)", unit="", better="lower", group="distribution",
        embed=mel_statistics, distance=frechet_distance, sample_rate=RATE,
    ),
    SetMetric(
        name="frechet_wavlm", label="Frechet (WavLM)", unit="", better="lower", group="distribution", embed=wavlm_mean,
        distance=frechet_distance, sample_rate=WAVLM_RATE, domains=SPEECH, packages=("transformers",), ready=find,
    ),
)  # fmt: skip
