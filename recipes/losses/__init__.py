"""Losses: what a codec minimises.

`build_loss(name)` gives modules of (estimate, target), waveforms [batch, channels, samples], and of (features, teacher);
`generator_loss`, `discriminator_loss` and `feature_matching` take a discriminator's judgements; `Balancer` sets proportions.
"""

from collections.abc import Callable
from typing import Any

from torch import nn

from ..errors import RecipeError
from .adversarial import discriminator_loss, feature_matching, generator_loss
from .balancer import Balancer
from .distillation import CosineDistance, DAxis, LanguageGuided, SemanticMSE, TAxis
from .filters import mel_filters
from .intelligibility import IntelligibilityLoss
from .mel import dac_mel, encodec_mel, speechtokenizer_mel, vocos_mel
from .perceptual import PerceptualLoss
from .spectral import SpectralLoss
from .stft import BandSTFTLoss, LogSTFTLoss, STFTLoss
from .waveform import SISDRLoss

__all__ = [
    "LOSSES",
    "Balancer",
    "SpectralLoss",
    "build_loss",
    "discriminator_loss",
    "feature_matching",
    "generator_loss",
    "mel_filters",
]

LOSSES: dict[str, Callable[..., nn.Module]] = {
    "mel_dac": dac_mel,
    "mel_bigcodec": dac_mel,
    "mel_encodec": encodec_mel,
    "mel_vocos": vocos_mel,
    "mel_speechtokenizer": speechtokenizer_mel,
    "stft": STFTLoss,
    "stft_bands": BandSTFTLoss,
    "stft_dac": LogSTFTLoss,
    "spectral": SpectralLoss,
    "l1": nn.L1Loss,
    "l2": nn.MSELoss,
    "si_sdr": SISDRLoss,
    "perceptual": PerceptualLoss,
    "intelligibility": IntelligibilityLoss,
    "d_axis": DAxis,
    "t_axis": TAxis,
    "semantic_mse": SemanticMSE,
    "cosine": CosineDistance,
    "language_guided": LanguageGuided,
}


def build_loss(name: str, **settings: Any) -> nn.Module:
    """Build a loss by name.

    Args:
        name: one of `LOSSES`. `mel_*`, `stft*`, `perceptual`, `intelligibility`, `l1`, `l2` and `si_sdr` compare
            waveforms [batch, channels, samples] and give a scalar; `spectral` compares waveforms [batch, samples] and gives
            named terms; `d_axis`, `t_axis`, `semantic_mse`, `cosine` and `language_guided` compare features
            [batch, frames, dim] with a teacher's.
        settings: of that loss; the `mel_*` ones, `spectral`, `perceptual` and `intelligibility` need `sample_rate` in Hz.

    Raises:
        RecipeError: if there is no such loss, or it has no such setting.
    """
    if name not in LOSSES:
        raise RecipeError(f"there is no loss {name!r}: use one of {', '.join(LOSSES)}")
    try:
        return LOSSES[name](**settings)
    except TypeError as error:
        raise RecipeError(f"loss {name} cannot be built with {settings}: {error}") from error
