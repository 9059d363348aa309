"""What stops a training run: each says what was expected, what came, and the remedy."""

from ..codecs.errors import TonemeError


class RecipeError(TonemeError):
    """A recipe or a setting cannot be used."""


class DataError(TonemeError):
    """There is no training audio, or it cannot be read."""


class TrainingError(TonemeError):
    """A run cannot go on: numbers that are not finite, a codebook that collapsed, a state that does not fit."""
