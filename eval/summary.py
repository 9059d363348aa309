"""Means with bootstrap intervals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np


@dataclass(frozen=True)
class Summary:
    """Mean and 95 % bootstrap interval of a metric over clips, and how many clips failed.

    `mean` is the value itself where the metric is one of the whole set; `median` is then None. Where no interval was
    taken, `low` and `high` are None.
    """

    mean: float
    low: float | None
    high: float | None
    median: float | None
    clips: int
    failures: int

    def __str__(self) -> str:
        return f"{self.short()} ({self.failures} failed)" if self.failures else self.short()

    def short(self) -> str:
        """Return mean and interval alone."""
        if self.low is None or self.high is None:
            return f"{self.mean:.3f}"
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def summarise(values: list[float], failures: int = 0, resamples: int = 2000, seed: int = 0) -> Summary:
    """Return mean, median and percentile bootstrap interval of the clips that have a value.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.

    Raises:
        ValueError: if no clip has a value.
    """
    if not values:
        raise ValueError(f"no clip has a value ({failures} failed): there is nothing to summarise")
    array = np.asarray(values, dtype=np.float64)
    means = _draws(len(array), resamples, seed) @ array / len(array)
    low, high = np.percentile(means, [2.5, 97.5])
    return Summary(float(array.mean()), float(low), float(high), float(np.median(array)), len(array), failures)


def summarise_ratio(
    counts: Sequence[tuple[float, float]], failures: int = 0, resamples: int = 2000, seed: int = 0, scale: float = 100.0
) -> Summary:
    """Return the ratio of two sums over clips, such as errors to words, with the interval of clips drawn anew.

    Args:
        counts: numerator and denominator of every clip.
        failures: clips that have none.
        resamples: how often clips are drawn.
        seed: of the draws.
        scale: that ratios are given in: 100 for per cent.

    Raises:
        ValueError: if the denominators add up to nothing.
    """
    above, below = np.asarray(counts, dtype=np.float64).reshape(-1, 2).T
    if not below.sum() > 0:
        raise ValueError(f"no clip counts ({failures} failed): there is nothing to summarise")
    draws = _draws(len(above), resamples, seed)
    ratios = scale * (draws @ above) / np.maximum(draws @ below, 1e-9)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return Summary(float(scale * above.sum() / below.sum()), float(low), float(high), None, len(above), failures)


def summarise_set(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    distance: Callable[[np.ndarray, np.ndarray], float],
    failures: int = 0,
    resamples: int = 200,
    seed: int = 0,
) -> Summary:
    """Return a distance of sets with its interval, clips drawn anew with their estimate and target together.

    The distance of a drawn set is biased upwards, since some clips are in it twice: the interval is moved by the mean bias.

    Args:
        pairs: embeddings [n, dimensions] of estimate and target of every clip.
        distance: of all embeddings of the estimates and of the targets.
        failures: clips that have none.
        resamples: how often clips are drawn.
        seed: of the draws.
    """
    value = distance(*_joined(pairs))
    rng = np.random.default_rng(seed)
    drawn = [distance(*_joined([pairs[i] for i in rng.integers(len(pairs), size=len(pairs))])) for _ in range(resamples)]
    low, high = np.percentile(drawn, [2.5, 97.5]) - (np.mean(drawn) - value)
    return Summary(value, float(low), float(high), None, len(pairs), failures)


def _joined(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([pair[0] for pair in pairs]), np.concatenate([pair[1] for pair in pairs])


@lru_cache(maxsize=4)
def _draws(clips: int, resamples: int, seed: int) -> np.ndarray:
    """Return how often each clip is drawn, float32 [resamples, clips]: the same draws serve every metric."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(clips, np.full(clips, 1 / clips), size=resamples).astype(np.float32)
