"""The errors of `toneme.kernels.errors`, where the rest of the package imports them from."""

from ..kernels.errors import (
    AudioError,
    CheckpointError,
    CodecNotFoundError,
    MissingDependencyError,
    ShapeError,
    TokenFileError,
    TonemeError,
    how_to_install,
)

__all__ = [
    "AudioError",
    "CheckpointError",
    "CodecNotFoundError",
    "MissingDependencyError",
    "ShapeError",
    "TokenFileError",
    "TonemeError",
    "how_to_install",
]
