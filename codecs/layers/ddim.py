"""Sampling from a diffusion model that predicts v: few steps from noise to latents, pulled towards a description.

Sources: Song et al., "Denoising Diffusion Implicit Models", 2020, equations 12 and 16; Salimans and Ho, "Progressive
Distillation", 2022, appendix D (v); Ho and Salimans, "Classifier-Free Diffusion Guidance", 2022, equation 6.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import CheckpointError, ShapeError

STRIDE = 2654435761  # between the seeds of neighbouring stretches: torch's generator on the CPU knows 32 bits of a seed


@dataclass(frozen=True)
class Schedule:
    """How the signal goes under in training.

    Attributes:
        steps: times of the diffusion.
        first, last: noise variance added at the first and last of them; the roots between are evenly spaced.
    """

    steps: int = 1000
    first: float = 0.0015
    last: float = 0.0195

    def signal(self) -> Tensor:
        """Return the share [steps] of the variance that is still signal, float64."""
        added = torch.linspace(self.first**0.5, self.last**0.5, self.steps, dtype=torch.float64).square()
        return (1 - added).cumprod(0)

    def times(self, steps: int) -> list[int]:
        """Return `steps` times to visit, last first.

        Raises:
            CheckpointError: if they are not from 1 to one less than the schedule's own.
        """
        if not 1 <= steps < self.steps:
            raise CheckpointError(f"sampling takes from 1 to {self.steps - 1} steps; got {steps}")
        return [number * (self.steps // steps) + 1 for number in reversed(range(steps))]


@dataclass(frozen=True)
class Sampling:
    """How latents are sampled; the same description and sampling give the same latents.

    Attributes:
        steps: of the sampler.
        guidance: how many times as far from the prediction without a description as the one with it.
        eta: 0 goes straight, 1 adds as much new noise in each step as the diffusion itself would.
        seed: of the noise.
        noise: gives the noise of a stretch of audio by its number from 0: the latents to start from, then one tensor of their
            shape for each step, all of variance 1. Where None it is drawn by `seed`.
    """

    steps: int = 50
    guidance: float = 2.0
    eta: float = 1.0
    seed: int = 0
    noise: Callable[[int], Iterable[Tensor]] | None = None

    def source(self, number: int, shape: tuple[int, ...]) -> Iterable[Tensor]:
        """Return the noise of a stretch of audio, [1, *shape] where it is drawn."""
        return self.noise(number) if self.noise else _drawn((self.seed + number * STRIDE) % 2**32, (1, *shape))


def ddim_step(x: Tensor, v: Tensor, now: float, before: float, eta: float, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Go from latents x at one time to an earlier one.

    Args:
        x: latents.
        v: what the model predicts for them.
        now, before: shares of signal at the two times.
        eta: see `Sampling`.
        noise: of the shape of x, variance 1.

    Returns:
        The latents at the earlier time, and the latents without noise that v implies.
    """
    clean = now**0.5 * x - (1 - now) ** 0.5 * v
    direction = now**0.5 * v + (1 - now) ** 0.5 * x
    spread = eta * ((1 - before) / (1 - now) * (1 - now / before)) ** 0.5
    return before**0.5 * clean + (1 - before - spread**2) ** 0.5 * direction + spread * noise, clean


def sample(predict: Callable[[Tensor, int], Tensor], noise: Iterable[Tensor], schedule: Schedule, sampling: Sampling) -> Tensor:
    """Return sampled latents.

    Args:
        predict: v for latents and a time.
        noise: see `Sampling`.
        schedule: that the model was trained with.
        sampling: steps and eta.

    Raises:
        ShapeError: if the noise ends before the steps do.
    """
    signal, source, times = schedule.signal().tolist(), iter(noise), schedule.times(sampling.steps)
    x = _next(source, len(times))
    for time, before in zip(times, [*times[1:], 0], strict=True):
        v = predict(x, time)
        x, _ = ddim_step(x, v, signal[time], signal[before], sampling.eta, _next(source, len(times)))
    return x


def guided(predict: Callable[[Tensor, int], Tensor], blind: Callable[[Tensor, int], Tensor], scale: float) -> Callable:
    """Return a prediction `scale` times as far from the one that sees no description."""

    def pulled(x: Tensor, time: int) -> Tensor:
        without = blind(x, time)
        return without + scale * (predict(x, time) - without)

    return predict if scale == 1 else pulled


def _drawn(seed: int, shape: tuple[int, ...]) -> Iterator[Tensor]:
    """Give normal noise without end, drawn on the CPU so that a seed means the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield torch.randn(shape, generator=generator)


def _next(source: Iterator[Tensor], steps: int) -> Tensor:
    if (drawn := next(source, None)) is None:
        raise ShapeError(f"{steps} steps need {steps + 1} tensors of noise, the first to start from; there were fewer")
    return drawn
