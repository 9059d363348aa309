"""Means with bootstrap intervals."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Summary:
    """Mean and 95 % bootstrap interval of a metric over clips, and how many clips failed."""

    mean: float
    low: float
    high: float
    median: float
    clips: int
    failures: int

    def __str__(self) -> str:
        text = f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"
        return f"{text} ({self.failures} failed)" if self.failures else text


def summarise(values: list[float], failures: int = 0, resamples: int = 2000, seed: int = 0) -> Summary:
    """Return mean, median and percentile bootstrap interval of the clips that have a value.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.

    Raises:
        ValueError: if no clip has a value.
    """
    if not values:
        raise ValueError(f"no clip has a value ({failures} failed): there is nothing to summarise")
    array = np.asarray(values, dtype=np.float64)
    rng = np.random.default_rng(seed)
    means = array[rng.integers(len(array), size=(resamples, len(array)))].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Summary(float(array.mean()), float(low), float(high), float(np.median(array)), len(array), failures)
