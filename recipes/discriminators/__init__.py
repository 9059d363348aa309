"""Discriminators: what tells a codec's output from recordings, and teaches it the difference.

Every one is a module whose `forward(waveform [batch, channels, samples])` gives a list of (score, [feature maps]), the
judgements that `toneme.recipes.losses` turns into losses.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from ..errors import RecipeError
from .base import Ensemble, frozen, judge_both, judge_for_generator
from .multi_band import MultiBand
from .multi_frequency import MultiFrequency
from .multi_period import MultiPeriod
from .multi_resolution import MultiResolution
from .multi_scale import MultiScale
from .multi_scale_stft import MultiScaleSTFT
from .multi_spectrogram import MultiSpectrogram

__all__ = ["DISCRIMINATORS", "PUBLISHED", "build_discriminator", "frozen", "judge_both", "judge_for_generator"]

DISCRIMINATORS: dict[str, type[nn.Module]] = {
    "multi_period": MultiPeriod,
    "multi_scale": MultiScale,
    "multi_scale_stft": MultiScaleSTFT,
    "multi_band": MultiBand,
    "multi_frequency": MultiFrequency,
    "multi_resolution": MultiResolution,
    "multi_spectrogram": MultiSpectrogram,
}

_DAC = [{"name": "multi_period", "always_pad": True, "leveled": True, "score_map": False}, "multi_band"]
_VOCOS_PERIODS = {"name": "multi_period", "first_map": False}
# what each codec was trained with
PUBLISHED: dict[str, list[str | dict[str, Any]]] = {
    "hifigan": ["multi_period", "multi_scale"],
    "encodec": ["multi_scale_stft"],
    "dac": _DAC,
    "xcodec": ["multi_frequency"],
    "vocos": [_VOCOS_PERIODS, {"name": "multi_band", "centered": True, "first_map": False, "score_map": True}],
    "wavtokenizer": [_VOCOS_PERIODS, "multi_resolution", *_DAC],
    "speechtokenizer": ["multi_period", "multi_scale", {"name": "multi_scale_stft", "windows": [1024, 2048, 512]}],
    "bigcodec": [
        {"name": "multi_period", "widths": [16, 64, 256, 512, 512], "last_kernel": 2, "score_map": False},
        "multi_spectrogram",
    ],
}
_COMMON = ("sample_rate", "channels")  # what a recipe may say once for all; those take it that need it


def build_discriminator(name_or_list: str | Sequence[str | Mapping[str, Any]], **settings: Any) -> nn.Module:
    """Build one discriminator, a published set of them, or any set.

    Args:
        name_or_list: a name of `DISCRIMINATORS` or `PUBLISHED`, or a list whose entries are names, or mappings of `name`
            and settings of that one.
        settings: `sample_rate` (Hz) and `channels`, and for a single name of `DISCRIMINATORS` any setting of its class.

    Returns:
        A module that maps waveform [batch, channels, samples] to a list of (score, [feature maps]).

    Raises:
        RecipeError: if there is no discriminator of a name, or it has no such setting.
    """
    if isinstance(name_or_list, str) and name_or_list in DISCRIMINATORS:
        return _build(name_or_list, settings)
    if unknown := set(settings) - set(_COMMON):
        raise RecipeError(f"settings of a set of discriminators belong into its entries: move {', '.join(sorted(unknown))}")
    entries = PUBLISHED.get(name_or_list) if isinstance(name_or_list, str) else list(name_or_list)
    if not entries:
        known = ", ".join([*DISCRIMINATORS, *PUBLISHED])
        raise RecipeError(f"there is no discriminator {name_or_list!r}: use one of {known}, or a list of them")
    members = []
    for entry in entries:
        own = {"name": entry} if isinstance(entry, str) else dict(entry)
        name = own.pop("name", None)
        if name in PUBLISHED and not own:
            members.append(build_discriminator(name, **settings))
        else:
            members.append(_build(name, {**settings, **own}))
    return Ensemble(members)


def _build(name: Any, settings: dict[str, Any]) -> nn.Module:
    if name not in DISCRIMINATORS:
        raise RecipeError(f"there is no discriminator {name!r}: use one of {', '.join(DISCRIMINATORS)}")
    known = inspect.signature(DISCRIMINATORS[name]).parameters
    settings = {key: value for key, value in settings.items() if key in known or key not in _COMMON}
    if unknown := set(settings) - set(known):
        raise RecipeError(f"{name} has no setting {', '.join(sorted(unknown))}: it takes {', '.join(known)}")
    if missing := [key for key, value in known.items() if value.default is value.empty and key not in settings]:
        raise RecipeError(f"{name} needs {', '.join(missing)}: give it to the entry or to all")
    return DISCRIMINATORS[name](**settings)
