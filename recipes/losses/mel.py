"""Distances of mel spectrograms, as each paper's code has them.

Sources: DAC and BigCodec: Kumar et al., "High-Fidelity Audio Compression with Improved RVQGAN", 2023, section 3.3; EnCodec:
Défossez et al., "High Fidelity Neural Audio Compression", 2022, section 3.4, with the settings of audiocraft's recipe; Vocos:
Siuzdak, "Vocos", 2023; SpeechTokenizer: Zhang et al., 2023, with HiFi-GAN's spectrogram.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...eval.spectra import slaney_mels
from .filters import mel_filters
from .spectrum import power, reflect, spectrum

Distance = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class MelScale:
    """One resolution: window and hop in samples, number of mels, and what its terms count."""

    window: int
    hop: int
    mels: int
    weight: float = 1.0


class MelLoss(nn.Module):
    """Distance of estimate and target [batch, channels, samples], summed over resolutions.

    Args:
        scales: the resolutions.
        filters: builds the filters [bins, mels] of one resolution.
        power: 1 for magnitudes, 2 for powers, before the filters.
        centered: frames centred at multiples of the hop; otherwise `(window - hop) / 2` samples are reflected at the ends.
        whole_frames: append zeros until the last frame is full.
        normalized: divide the window by its root sum of squares.
        logarithm: of the mels, given the mels.
        log_distance: of the logarithms; mean absolute or mean square.
        linear_weight: of the mean absolute difference of the mels themselves.
        epsilon: added to every magnitude.
    """

    def __init__(
        self,
        scales: Sequence[MelScale],
        filters: Callable[[MelScale], Tensor],
        logarithm: Callable[[Tensor], Tensor],
        power: int = 1,
        centered: bool = True,
        whole_frames: bool = False,
        normalized: bool = False,
        log_distance: Distance = nn.functional.l1_loss,
        linear_weight: float = 0.0,
        epsilon: float = 0.0,
    ) -> None:
        super().__init__()
        self.scales, self.logarithm, self.log_distance = tuple(scales), logarithm, log_distance
        self.power, self.centered, self.whole_frames = power, centered, whole_frames
        self.linear_weight, self.epsilon = linear_weight, epsilon
        for index, scale in enumerate(self.scales):
            taper = torch.hann_window(scale.window)
            if normalized:
                taper = taper / taper.square().sum().sqrt()
            self.register_buffer(f"taper_{index}", taper, persistent=False)
            self.register_buffer(f"filters_{index}", filters(scale), persistent=False)

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Return the distance, a scalar."""
        total = estimate.new_zeros((), dtype=torch.float32)
        for index, scale in enumerate(self.scales):
            ours, theirs = self.mels(estimate, index), self.mels(target, index)
            distance = self.log_distance(self.logarithm(ours), self.logarithm(theirs))
            if self.linear_weight:
                distance = distance + self.linear_weight * nn.functional.l1_loss(ours, theirs)
            total = total + scale.weight * distance
        return total

    def mels(self, waveform: Tensor, index: int) -> Tensor:
        """Return mels [batch, channels, frames, mels] of waveform [batch, channels, samples] at one resolution."""
        scale = self.scales[index]
        if not self.centered:
            edge = (scale.window - scale.hop) // 2
            waveform = reflect(waveform, edge, edge)
        if self.whole_frames:
            waveform = nn.functional.pad(waveform, (0, (scale.window - waveform.shape[-1]) % scale.hop))
        bins = spectrum(waveform, scale.hop, getattr(self, f"taper_{index}"), center=self.centered)
        with torch.autocast(waveform.device.type, enabled=False):
            size = bins.abs() + self.epsilon if self.power == 1 else power(bins)
            return size.transpose(-2, -1) @ getattr(self, f"filters_{index}")


def dac_mel(
    sample_rate: int,
    windows: Sequence[int] = (32, 64, 128, 256, 512, 1024, 2048),
    mels: Sequence[int] = (5, 10, 20, 40, 80, 160, 320),
    linear_weight: float = 0.0,
) -> MelLoss:
    """Return DAC's and BigCodec's: seven windows, Slaney mels of magnitudes, log10 from 1e-5, summed.

    `linear_weight` 1 with other windows is what DAC's code evaluates with.
    """
    scales = [MelScale(window, window // 4, count) for window, count in zip(windows, mels, strict=True)]
    return MelLoss(scales, lambda s: slaney_mels(s.mels, s.window, sample_rate), _log10_from(1e-5), linear_weight=linear_weight)


def encodec_mel(sample_rate: int, low: float = 64.0) -> MelLoss:
    """Return EnCodec's: five windows of 64 to 1024 samples, 64 mels of powers, mean absolute and of log10 mean square.

    Upstream takes every spectrum twice; here it is taken once.
    """
    windows = [2**power for power in range(6, 11)]
    scales = [MelScale(window, window // 4, 64, 1 / (2 * len(windows))) for window in windows]
    return MelLoss(
        scales, lambda s: mel_filters(s.mels, s.window, sample_rate, low), lambda mels: (mels + 1e-5).log10(), power=2,
        centered=False, whole_frames=True, normalized=True, log_distance=nn.functional.mse_loss, linear_weight=1.0,
    )  # fmt: skip


def vocos_mel(sample_rate: int, window: int = 1024, hop: int = 256, mels: int = 100) -> MelLoss:
    """Return Vocos' and WavTokenizer's: one window, HTK mels of magnitudes, natural logarithm from 1e-7."""
    scales = [MelScale(window, hop, mels)]
    return MelLoss(scales, lambda s: mel_filters(s.mels, s.window, sample_rate), lambda mels: mels.clamp(min=1e-7).log())


def speechtokenizer_mel(sample_rate: int, weights: Sequence[float] = (45.0, 1.0, 1.0, 1.0)) -> MelLoss:
    """Return SpeechTokenizer's: windows of 1024 to 128 samples that count 45 to 1, hops of 240 to 30, 80 mels.

    `mel_filters` of equal area, natural logarithm from 1e-5.
    """
    scales = [MelScale(1024 >> i, 240 >> i, 80, weight) for i, weight in enumerate(weights)]
    filters = lambda s: mel_filters(s.mels, s.window, sample_rate, equal_area=True)  # noqa: E731
    return MelLoss(scales, filters, lambda mels: mels.clamp(min=1e-5).log(), centered=False, epsilon=1e-9)


def _log10_from(floor: float) -> Callable[[Tensor], Tensor]:
    scale = 1 / math.log(10)
    return lambda mels: mels.clamp(min=floor).log() * scale
