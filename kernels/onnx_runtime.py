"""ONNX Runtime as this project loads it, with our operators for it. Needs numpy alone beside it."""

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from .library import built, library

CPU = "CPUExecutionProvider"
NONE: Mapping[str, np.ndarray] = MappingProxyType({})


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


def load_session(graph: str, threads: int, providers: list[str], weights: Mapping[str, np.ndarray] = NONE) -> Any:
    """Return the session of a graph, on the CPU with our operators (`c/onnx.c`) where they are built.

    A graph has a function in place of each of them, too. It is left at that where there is no `library`, and with any other
    provider, whose memory our operators do not read.

    Args:
        graph: path of an ONNX file.
        threads: that one call may use.
        providers: of ONNX Runtime.
        weights: of the graph, by name, which stay where they are; it finds the others itself.

    Raises:
        Exception: what ONNX Runtime raises of a file that it cannot load; its types are not exported everywhere.
    """
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    if providers == [CPU] and library() is not None:
        options.register_custom_ops_library(str(built()))
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
    for name, value in zip(weights, values, strict=True):
        options.add_initializer(name, value)
    session = onnxruntime.InferenceSession(graph, options, providers=providers)
    if values:
        session.toneme_weights = values  # which it refers to
    return session
