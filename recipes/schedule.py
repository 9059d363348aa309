"""Learning rates over time."""

import math

from .errors import RecipeError
from .recipe import OptimizerSettings


def constant(progress: float, floor: float) -> float:
    """Return 1."""
    return 1.0


def cosine(progress: float, floor: float) -> float:
    """Return a half wave from 1 to `floor`. Source: Loshchilov and Hutter, "SGDR", 2017, equation 5, without restarts."""
    return floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2


def linear(progress: float, floor: float) -> float:
    """Return a straight line from 1 to `floor`."""
    return 1 - (1 - floor) * progress


def exponential(progress: float, floor: float) -> float:
    """Return a constant factor per step that ends at `floor`."""
    return floor**progress


SCHEDULES = {"constant": constant, "cosine": cosine, "linear": linear, "exponential": exponential}


def learning_rate(settings: OptimizerSettings, step: int, steps: int) -> float:
    """Return the rate at a step of `steps`: linear warm-up, then the schedule down to `floor` of it.

    Raises:
        RecipeError: if there is no such schedule.
    """
    if settings.schedule not in SCHEDULES:
        raise RecipeError(f"optimizer.schedule must be one of {', '.join(SCHEDULES)}; got {settings.schedule!r}")
    if step < settings.warmup:
        return settings.learning_rate * (step + 1) / settings.warmup
    progress = min(1.0, (step - settings.warmup) / max(1, steps - settings.warmup))
    return settings.learning_rate * SCHEDULES[settings.schedule](progress, settings.floor)
