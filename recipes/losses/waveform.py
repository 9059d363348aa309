"""Distances of waveforms [batch, channels, samples].

Source of SI-SDR: Le Roux et al., "SDR: half-baked or well done?", 2019.
"""

import torch
from torch import Tensor, nn


class SISDRLoss(nn.Module):
    """Negative scale-invariant signal-to-distortion ratio in dB, mean over items; all channels of an item count as one signal.

    Args:
        zero_mean: remove means first.
        floor: losses below it (in dB) are held there, so that what is good already is left alone.
    """

    def __init__(self, zero_mean: bool = True, floor: float | None = None) -> None:
        super().__init__()
        self.zero_mean, self.floor = zero_mean, floor

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Return the loss, a scalar."""
        estimate, target = estimate.flatten(1).float(), target.flatten(1).float()
        if self.zero_mean:
            estimate, target = estimate - estimate.mean(1, keepdim=True), target - target.mean(1, keepdim=True)
        scale = ((estimate * target).sum(1, keepdim=True) + 1e-8) / (target.square().sum(1, keepdim=True) + 1e-8)
        signal, noise = (scale * target).square().sum(1), (estimate - scale * target).square().sum(1)
        loss = -10 * torch.log10(signal / noise.clamp(min=1e-20) + 1e-8)
        return loss.clamp(min=self.floor).mean() if self.floor is not None else loss.mean()
