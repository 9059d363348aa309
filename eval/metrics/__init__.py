"""Metrics of reconstruction: a file in this folder that has a tuple METRICS is found by itself.

Every metric takes (estimate, target), float tensors [time] of one length at one rate. Rules that hold for all of them:

- Channels are mixed to one by their mean before anything is measured.
- Estimate and target are brought to the evaluation's rate, and from there to the rate that a metric asks for, by soxr VHQ.
- The estimate is cut, or extended by zeros, to the target's length. Nothing is shifted: a codec that delays its audio pays
  for it, save in metrics that align by themselves (PESQ, ViSQOL). The metric `delay` tells such a delay.
- Levels are left alone, save in metrics that set them by themselves (PESQ, SI-SDR).
- What is undefined, infinite or not a number is a failure: it is counted and listed, and takes no part in any mean.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from ...codecs.errors import AudioError, MissingDependencyError, ShapeError, TonemeError, how_to_install

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

GROUPS = ("quality", "intelligibility", "waveform", "spectrum", "pitch", "learned", "distribution")  # as tables order them
SPEECH, OTHER, ALL = "speech", "other", "all"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What tables say about a metric.

    Attributes:
        name: as results name it.
        label: as tables name it.
        unit: of the value, "" where there is none.
        better: "higher", "lower", or "zero" where the nearest to zero is best.
        group: one of GROUPS.
        version: of our code; to be raised whenever values change, so that cached ones are not mixed with new ones.
        sample_rate: Hz that both signals are brought to, None for the evaluation's own.
        domains: the clips it is for: SPEECH, OTHER than speech, or ALL.
        packages: distributions that compute it: their versions are part of its own.
        ready: raises TonemeError, in one sentence, where it cannot be computed here (a package or weights are missing).
    """

    name: str
    label: str
    unit: str
    better: str
    group: str
    version: int = 1
    sample_rate: int | None = None
    domains: str = ALL
    packages: tuple[str, ...] = ()
    ready: Callable[[], object] | None = None

    @property
    def full_version(self) -> str:
        """Our version and those of the packages, such as "1, pesq 0.0.4"."""
        return ", ".join([str(self.version), *(f"{name} {_installed(name)}" for name in self.packages)])

    def fits(self, domain: str) -> bool:
        """Return whether it is for clips of this domain; clips of an unknown domain ("") get every metric."""
        return not domain or self.domains == ALL or (self.domains == SPEECH) == (domain == SPEECH)

    def obstacle(self) -> str:
        """Return why it cannot be computed here, "" where it can."""
        missing = [name for name in self.packages if not _installed(name)]
        if missing:
            return f"the package {missing[0]} is not installed: {how_to_install('eval')}"
        try:
            if self.ready:
                self.ready()
        except TonemeError as error:
            return str(error)
        return ""


@dataclass(frozen=True, kw_only=True)
class Metric(Measure):
    """One number per clip: `compute(estimate, target, sample_rate)`."""

    compute: "Callable[[Tensor, Tensor, int], float]"


@dataclass(frozen=True, kw_only=True)
class SetMetric(Measure):
    """One number per set of clips: `distance` of all embeddings of the estimates and of the targets.

    Attributes:
        embed: audio [time] at a rate to embeddings, float32 [n, dimensions].
        distance: embeddings of estimates [n, dimensions] and targets [m, dimensions] to the number.
    """

    embed: "Callable[[Tensor, int], np.ndarray]"
    distance: "Callable[[np.ndarray, np.ndarray], float]"


@lru_cache(maxsize=1)
def all_metrics() -> dict[str, Measure]:
    """Return every metric of this folder by its name, in the order of tables."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    metrics: list[Measure] = [metric for module in modules for metric in getattr(module, "METRICS", ())]
    return {metric.name: metric for metric in sorted(metrics, key=lambda metric: GROUPS.index(metric.group))}


def pick_metrics(names: Iterable[str] | None = None) -> dict[str, Measure]:
    """Return the metrics of these names, all by default.

    Raises:
        ShapeError: if a name is unknown.
    """
    known = all_metrics()
    if names is None:
        return known
    wanted = list(names)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ShapeError(f"no metric is called {unknown[0]!r}: the known ones are {', '.join(known)}")
    return {name: known[name] for name in known if name in wanted}


def check_same_shape(estimate: "Tensor", target: "Tensor") -> None:
    """Raise ShapeError unless estimate and target have one shape."""
    if estimate.shape != target.shape:
        raise ShapeError(f"estimate {list(estimate.shape)} and target {list(target.shape)} must have one shape: cut them first")


def check_audible(target: "Tensor", metric: str) -> None:
    """Raise AudioError where a target [..., time] is silent, of which there would be a number that says nothing."""
    if not bool(target.any(-1).all()):
        raise AudioError(f"the target is silent, so {metric} is undefined: leave this clip out and say so")


def missing_package(metric: str, package: str) -> MissingDependencyError:
    """Return the error of a metric whose package is not installed."""
    return MissingDependencyError(f"{metric} needs the package {package}: {how_to_install('eval')}")


@lru_cache
def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
