"""Toneme: neural audio codecs and tokenizers.

The public names load on first use, so that `import toneme` costs nothing until something is asked of it.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toneme.codecs.audio import read_audio, write_audio
    from toneme.codecs.base import Codec
    from toneme.codecs.errors import (
        AudioError,
        CheckpointError,
        CodecNotFoundError,
        MissingDependencyError,
        ShapeError,
        TokenFileError,
        TonemeError,
    )
    from toneme.codecs.formats import read_tokens
    from toneme.codecs.registry import from_official, list_codecs, load
    from toneme.codecs.spec import CodecSpec
    from toneme.codecs.tokens import Tokens

    __version__: str

_HOMES = {
    "AudioError": "toneme.codecs.errors",
    "CheckpointError": "toneme.codecs.errors",
    "Codec": "toneme.codecs.base",
    "CodecNotFoundError": "toneme.codecs.errors",
    "CodecSpec": "toneme.codecs.spec",
    "MissingDependencyError": "toneme.codecs.errors",
    "ShapeError": "toneme.codecs.errors",
    "TokenFileError": "toneme.codecs.errors",
    "Tokens": "toneme.codecs.tokens",
    "TonemeError": "toneme.codecs.errors",
    "from_official": "toneme.codecs.registry",
    "list_codecs": "toneme.codecs.registry",
    "load": "toneme.codecs.registry",
    "read_audio": "toneme.codecs.audio",
    "read_tokens": "toneme.codecs.formats",
    "write_audio": "toneme.codecs.audio",
}

__all__ = [
    "AudioError",
    "CheckpointError",
    "Codec",
    "CodecNotFoundError",
    "CodecSpec",
    "MissingDependencyError",
    "ShapeError",
    "TokenFileError",
    "Tokens",
    "TonemeError",
    "__version__",
    "from_official",
    "list_codecs",
    "load",
    "read_audio",
    "read_tokens",
    "write_audio",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("toneme")
    elif name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module 'toneme' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
