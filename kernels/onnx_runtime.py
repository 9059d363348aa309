"""ONNX Runtime as this project loads it. Needs nothing else."""

import os
from typing import Any


def load_onnxruntime() -> Any:
    """Return the package onnxruntime, which then reports nothing to its makers.

    Its builds for Linux and macOS send what they run to Microsoft, and keep an identifier in the user's cache, unless
    ORT_DISABLE_TELEMETRY is set when they are first imported. Where the user has set it, that holds.

    Raises:
        ImportError: if it is not installed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime
