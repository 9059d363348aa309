"""The errors of `toneme.kernels.errors`, where the rest of the package imports them from."""

from ..kernels.errors import (
    AudioError,
    CheckpointError,
    CodecNotFoundError,
    MissingDependencyError,
    ShapeError,
    TokenFileError,
    TonemeError,
)

__all__ = [
    "AudioError",
    "CheckpointError",
    "CodecNotFoundError",
    "MissingDependencyError",
    "ShapeError",
    "TokenFileError",
    "TonemeError",
]
