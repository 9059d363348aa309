"""Multi-resolution STFT distance of EnCodec's code, no unit (spectral convergence and log magnitude), lower is better.

Source: Yamamoto et al., "Parallel WaveGAN", 2020, section 2.2, with what Audiocraft uses: FFTs of 1024, 2048 and 512 samples,
windows of 600, 1200 and 240, hops of 120, 240 and 50, both terms with the factor 0.5, mean over the three.
"""

import torch
from torch import Tensor

from ..spectra import check_longer
from . import Metric, check_same_shape

RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))  # FFT, hop, window in samples
FLOOR, FACTOR = 1e-7, 0.5


def encodec_stft(estimate: Tensor, target: Tensor) -> Tensor:
    """Return the distance of estimate and target [batch, time], one per item.

    Raises:
        AudioError: if they are shorter than what is mirrored at their ends.
        ShapeError: if the shapes differ.
    """
    check_same_shape(estimate, target)
    check_longer(target, max(n_fft for n_fft, _, _ in RESOLUTIONS) // 2)
    total = estimate.new_zeros(estimate.shape[0])
    for n_fft, hop, window in RESOLUTIONS:
        taper = torch.hann_window(window, device=estimate.device)
        ours, theirs = (
            torch.stft(x, n_fft, hop, window, taper, return_complex=True).abs().square().clamp(min=FLOOR).sqrt()
            for x in (estimate, target)
        )
        convergence = (theirs - ours).square().sum((1, 2)).sqrt() / theirs.square().sum((1, 2)).sqrt()
        total += FACTOR * (convergence + (theirs.log() - ours.log()).abs().mean((1, 2)))
    return total / len(RESOLUTIONS)


def _compute(estimate: Tensor, target: Tensor, sample_rate: int) -> float:
    return encodec_stft(estimate[None], target[None]).item()


METRICS = (
    Metric(name="stft_encodec", label="STFT distance (EnCodec)", unit="", better="lower", group="spectrum", compute=_compute),
)
