"""The spectral reconstruction loss of toneme-24k.

Sources: multi-scale mel as in Kumar et al., "Descript Audio Codec", 2023, section 3.3; compressed complex spectrum as in
Braun and Tashev, "A consolidated view of loss functions for supervised deep learning-based speech enhancement", 2021.
"""

import torch
from torch import Tensor, nn

from .filters import mel_filters
from .spectrum import spectrum


class SpectralLoss(nn.Module):
    """Distance between two waveforms [batch, samples] over several windows.

    For each window: mean absolute difference of log10 mel magnitudes, and for the windows in `complex_windows` also of
    spectra compressed to |s|^0.3, which keeps phase in play.
    """

    def __init__(
        self,
        sample_rate: int,
        windows: tuple[int, ...] = (128, 256, 512, 1024, 2048),
        mels: tuple[int, ...] = (10, 20, 40, 80, 160),
        complex_windows: tuple[int, ...] = (512, 1024),
        complex_weight: float = 1.0,
        waveform_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.windows, self.complex_windows = windows, complex_windows
        self.complex_weight, self.waveform_weight = complex_weight, waveform_weight
        for window, count in zip(windows, mels, strict=True):
            self.register_buffer(f"filters_{window}", mel_filters(count, window, sample_rate), persistent=False)
            self.register_buffer(f"taper_{window}", torch.hann_window(window), persistent=False)

    def forward(self, estimate: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the terms `mel` (summed over windows) and `complex`, both of which count as they are."""
        mel, difference = estimate.new_zeros(()), estimate.new_zeros(())
        for window in self.windows:
            ours, theirs = self._spectrum(estimate, window), self._spectrum(target, window)
            powers = _power(ours), _power(theirs)
            filters = getattr(self, f"filters_{window}")
            logs = [(power.sqrt() @ filters).clamp(min=1e-5).log10() for power in powers]
            mel = mel + (logs[0] - logs[1]).abs().mean()
            if window in self.complex_windows:
                scaled = [s * _compression(power)[..., None] for s, power in zip((ours, theirs), powers, strict=True)]
                difference = difference + (scaled[0] - scaled[1]).abs().mean()
        error = (estimate - target).norm(dim=-1) / target.norm(dim=-1).clamp(min=0.1)
        return {"mel": mel, "complex": self.complex_weight * difference, "waveform": self.waveform_weight * error.mean()}

    def _spectrum(self, waveform: Tensor, window: int) -> Tensor:
        """Return [batch, frames, bins, 2]."""
        bins = spectrum(waveform, window // 4, getattr(self, f"taper_{window}"))
        return torch.view_as_real(bins.transpose(1, 2))


def _power(bins: Tensor) -> Tensor:
    """Return the squared modulus of bins [..., 2], a little above 0 so that its root has a gradient."""
    real, imaginary = bins.unbind(-1)  # a sum over so short a dimension takes longer than all else here
    return real.square() + imaginary.square() + 1e-5


def _compression(power: Tensor) -> Tensor:
    """Return modulus ** -0.7, by which a spectrum becomes one of modulus ** 0.3."""
    return (-0.35 * power.log()).exp()  # in half the time of a power
