"""Codecs without torch: ONNX graphs with explicit state, and the runtime that feeds them.

The names load on first use: `StreamingCodec` needs numpy and onnxruntime alone; `export_codec` needs torch, onnx and
onnxscript.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .folder import export_codec
    from .runtime import StreamingCodec

_HOMES = {"StreamingCodec": ".runtime", "export_codec": ".folder"}
__all__ = ["StreamingCodec", "export_codec"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name], __name__), name)
    globals()[name] = value
    return value
