"""Exported codecs made on first use, kept in the user's cache by the hash of their weights."""

import os
from pathlib import Path

from ..codecs.registry import find_folder, load
from .codec import ExportedCodec
from .folder import export_codec
from .manifest import FILE, FORMAT


def exported(name: str | Path) -> ExportedCodec:
    """Return a codec that runs in ONNX Runtime: an exported folder itself, or the codec `name` exported once.

    Args:
        name: what `codecs.registry.load` takes, or a folder that `codec export` made.

    Raises:
        CheckpointError: if the codec cannot be exported.
        CodecNotFoundError: if nothing answers to the name.
        MissingDependencyError: if onnxruntime is missing, or, the first time, onnx or onnxscript.
    """
    if (Path(name) / FILE).is_file():
        return ExportedCodec(name)
    codec = load(find_folder(name))
    folder = cache() / f"{codec.name}-{codec.weights_hash}-{FORMAT}"
    if not (folder / FILE).is_file():
        export_codec(codec, folder)
    return ExportedCodec(folder)


def cache() -> Path:
    """Return the folder of exported codecs: `toneme/onnx` in XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "toneme" / "onnx"
