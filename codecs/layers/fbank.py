"""Log-mel filterbank features as Kaldi computes them, which speech and audio encoders were trained on.

Source: Povey et al., "The Kaldi Speech Recognition Toolkit", 2011, and the defaults of its `compute-fbank-feats`.
"""

import functools
import math

import torch
from torch import Tensor

from ..errors import ShapeError

PREEMPHASIS = 0.97
FLOOR = torch.finfo(torch.float32).eps  # under the logarithm
TAPERS = ("hanning", "povey")


def kaldi_fbank(
    waveform: Tensor, sample_rate: int = 16000, bins: int = 80, taper: str = "povey", lowest: float = 20.0
) -> Tensor:
    """Return log-mel energies [batch, frames, bins] of a waveform [batch, samples].

    Windows of 25 ms start every 10 ms as far as they fit, so n samples have 1 + (n - 400) // 160 frames at 16 kHz. Each
    loses its mean and gets pre-emphasis; there is no dither and no energy. Computed in float32.

    Args:
        waveform: float; Kaldi's own scale is that of 16-bit integers.
        sample_rate: Hz.
        bins: triangles, evenly spaced in mel from `lowest` to half the rate.
        taper: "povey" (a Hann window to the power of 0.85) or "hanning".
        lowest: Hz.

    Raises:
        ShapeError: if the waveform is not [batch, samples] or the taper unknown.
    """
    if waveform.ndim != 2 or taper not in TAPERS:
        raise ShapeError(f"kaldi_fbank takes [batch, samples] and {TAPERS}; got {list(waveform.shape)}, {taper!r}")
    window, hop = sample_rate * 25 // 1000, sample_rate // 100
    if waveform.shape[1] < window:
        return waveform.new_zeros(waveform.shape[0], 0, bins, dtype=torch.float32)
    frames = waveform.float().unfold(1, window, hop)
    frames = frames - frames.mean(dim=-1, keepdim=True)
    before = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
    frames = (frames - PREEMPHASIS * before) * _taper(taper, window).to(frames.device)
    size = 1 << (window - 1).bit_length()
    power = torch.fft.rfft(frames, n=size).abs().square()
    triangles = _triangles(sample_rate, size, bins, lowest).to(frames.device)
    return (power @ triangles).clamp(min=FLOOR).log()


@functools.cache
@torch.inference_mode(False)  # kept for callers that want gradients too
def _taper(name: str, window: int) -> Tensor:
    hann = torch.hann_window(window, periodic=False, dtype=torch.float64)
    return (hann if name == "hanning" else hann**0.85).float()


@functools.cache
@torch.inference_mode(False)
def _triangles(sample_rate: int, size: int, bins: int, lowest: float) -> Tensor:
    """Weights [size // 2 + 1, bins] of triangles in mel; the one of half the rate is 0, as Kaldi leaves it out."""
    edges = torch.linspace(_mel(lowest), _mel(sample_rate / 2), bins + 2, dtype=torch.float64)
    line = torch.tensor([_mel(k * sample_rate / size) for k in range(size // 2)], dtype=torch.float64)[:, None]
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (line - left) / (centre - left), (right - line) / (right - centre)
    weights = torch.minimum(rising, falling).clamp(min=0)
    return torch.cat([weights, torch.zeros(1, bins, dtype=torch.float64)]).float()


def _mel(hertz: float) -> float:
    return 1127 * math.log1p(hertz / 700)
