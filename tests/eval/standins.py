"""Systems for tests that need no codec."""

from dataclasses import dataclass

import torch
from torch import Tensor

from toneme.eval.commands import CommandError
from toneme.eval.systems import About, Rebuilt, System


@dataclass(frozen=True)
class Scaled(System):
    """Gives the audio back times a factor, later by some samples, at twice the rate; fails where the factor is 0."""

    factor: float
    later: int = 0

    @property
    def name(self) -> str:
        return "scaled"

    @property
    def label(self) -> str:
        return f"scaled {self.factor:g}"

    @property
    def identity(self) -> str:
        return f"scaled {self.factor} {self.later}"

    @property
    def about(self) -> About:
        return About(nominal_kbps=self.factor)

    def rebuild(self, waveform: Tensor, sample_rate: int, device: str) -> Rebuilt:
        if not self.factor:
            raise CommandError("nothing came out: try another factor")
        audio = torch.nn.functional.pad(self.factor * waveform, (self.later, 0))
        return Rebuilt(audio, sample_rate, 1000.0 * self.factor * len(waveform) / sample_rate, 1.0)
