"""Distances of magnitude spectra at several resolutions.

Sources: spectral convergence and log magnitudes: Yamamoto et al., "Parallel WaveGAN", 2020, as X-Codec and audiocraft have
them; DAC's: Kumar et al., "High-Fidelity Audio Compression with Improved RVQGAN", 2023, after Engel et al., "DDSP", 2020.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .pqmf import PQMF
from .spectrum import magnitude, spectrum


class STFTLoss(nn.Module):
    """Spectral convergence and the distance of log magnitudes, each the mean over resolutions, times its weight.

    Waveforms are [batch, channels, samples]; the convergence is that of the whole batch.

    Args:
        n_ffts: samples of a frame.
        windows: samples of the Hann window in it.
        hops: samples.
        convergence_weight: of the relative error of magnitudes in the Frobenius norm.
        log_weight: of the mean absolute difference of their natural logarithms.
        epsilon: added to magnitudes in the logarithm, and to the norm of the target's.
    """

    def __init__(
        self,
        n_ffts: Sequence[int] = (512, 1024, 2048),
        windows: Sequence[int] = (480, 960, 1200),
        hops: Sequence[int] = (120, 240, 300),
        convergence_weight: float = 1.0,
        log_weight: float = 1.0,
        epsilon: float = 0.0,
    ) -> None:
        super().__init__()
        self.resolutions = tuple(zip(n_ffts, windows, hops, strict=True))
        self.convergence_weight, self.log_weight, self.epsilon = convergence_weight, log_weight, epsilon
        for index, window in enumerate(windows):
            self.register_buffer(f"taper_{index}", torch.hann_window(window), persistent=False)

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Return the distance, a scalar."""
        total = estimate.new_zeros((), dtype=torch.float32)
        for index, (n_fft, _, hop) in enumerate(self.resolutions):
            taper = getattr(self, f"taper_{index}")
            ours, theirs = (magnitude(spectrum(x, hop, taper, n_fft), 1e-7) for x in (estimate, target))
            total = total + self.convergence_weight * (theirs - ours).norm() / (theirs.norm() + self.epsilon)
            total = total + self.log_weight * F.l1_loss((ours + self.epsilon).log(), (theirs + self.epsilon).log())
        return total / len(self.resolutions)


class BandSTFTLoss(nn.Module):
    """X-Codec's loss on sub-bands: `STFTLoss` of the outputs of a PQMF, every band an item of the batch."""

    def __init__(
        self,
        bands: int = 6,
        n_ffts: Sequence[int] = (128, 256, 256),
        windows: Sequence[int] = (80, 120, 200),
        hops: Sequence[int] = (20, 40, 50),
    ) -> None:
        super().__init__()
        self.pqmf, self.distance = PQMF(bands), STFTLoss(n_ffts, windows, hops)

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Return the distance of waveforms [batch, channels, samples], a scalar."""
        return self.distance(self.pqmf(estimate), self.pqmf(target))


class LogSTFTLoss(nn.Module):
    """DAC's: mean absolute differences of magnitudes and of their log10 to a power, summed over windows, hop a quarter.

    Args:
        windows: samples of the Hann windows.
        log_weight: of the differences of log10, magnitudes held above 1e-5.
        linear_weight: of those of magnitudes.
        power: of magnitudes in the logarithm.
    """

    def __init__(
        self, windows: Sequence[int] = (2048, 512), log_weight: float = 1.0, linear_weight: float = 1.0, power: float = 2.0
    ) -> None:
        super().__init__()
        self.windows, self.power = tuple(windows), power
        self.log_weight, self.linear_weight = log_weight, linear_weight
        for window in self.windows:
            self.register_buffer(f"taper_{window}", torch.hann_window(window), persistent=False)

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Return the distance of waveforms [batch, channels, samples], a scalar."""
        total = estimate.new_zeros((), dtype=torch.float32)
        for window in self.windows:
            ours, theirs = (spectrum(x, window // 4, getattr(self, f"taper_{window}")).abs() for x in (estimate, target))
            logs = [self.power * x.clamp(min=1e-5).log10() for x in (ours, theirs)]
            total = total + self.log_weight * F.l1_loss(logs[0], logs[1]) + self.linear_weight * F.l1_loss(ours, theirs)
        return total
