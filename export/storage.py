"""A graph in files: as one, or with its weights in a second one beside it, which a session maps into memory and does not copy.

Read from within the graph, weights are copied twice: mapped, they take half of the time and two thirds of the memory to load.
Graphs that go frame by frame stay one file, as pages like it, unless they are so large that one waits for the copies.

The second file is one of safetensors: its header says where each tensor lies, so that `weights_in` reads it without ONNX.
Source: safetensors, "Format", https://github.com/huggingface/safetensors.
"""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from .huge_pages import read_large
from .manifest import Side

FILES = ("encoder.onnx", "encoder.data", "decoder.onnx", "decoder.data")  # of both directions, so far as they are there
LEAST = 1024  # bytes from which a constant is put beside the graph
WITHIN = 1 << 26  # bytes of weights up to which a graph that goes frame by frame is one file
ALIGNED = 64  # bytes
TYPES = {1: "F32", 10: "F16", 7: "I64", 6: "I32", 2: "U8", 3: "I8"}  # of ONNX, as safetensors has them
ARRAYS = {"F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32, "U8": np.uint8, "I8": np.int8}


def beside(path: Path) -> Path:
    """Return where the weights of a graph are that are not in its file."""
    return path.with_suffix(".data")


def files_of(folder: Path, side: Side) -> list[Path]:
    """Return the files of a direction that are there, the graph last: what it needs is there before it."""
    graph = folder / side.file
    return [path for path in (beside(graph), graph) if path.is_file()]


def write_graph(model: Any, folder: Path, side: Side) -> None:
    """Write a direction's ONNX model in place of the one that is there; weights that go beside it leave the model."""
    path = folder / side.file
    for old in files_of(folder, side):
        old.unlink()
    weights = [tensor for tensor in model.graph.initializer if tensor.data_type in TYPES and _bytes(tensor) >= LEAST]
    if side.mode == "steps" and sum(map(_bytes, weights)) <= WITHIN:
        path.write_bytes(model.SerializeToString())
        return
    _put_beside(weights, beside(path))
    path.write_bytes(model.SerializeToString())
    shutil.copymode(path, beside(path))


def weights_in(path: Path) -> dict[str, np.ndarray]:
    """Return the tensors of a file beside a graph by name, in memory of large pages (`huge_pages`).

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is no such file.
    """
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size)) if size < path.stat().st_size else None
        if not isinstance(header, dict):
            raise ValueError(f"{path} has no header")
        memory = read_large(file, path.stat().st_size - 8 - size)
    whole = np.frombuffer(memory, np.uint8)
    return {name: _array(whole, **entry) for name, entry in header.items()}


def _array(whole: np.ndarray, dtype: str, shape: list[int], data_offsets: list[int]) -> np.ndarray:
    return whole[slice(*data_offsets)].view(ARRAYS[dtype]).reshape(shape)


def _bytes(tensor: Any) -> int:
    return math.prod(tensor.dims) * np.dtype(ARRAYS[TYPES[tensor.data_type]]).itemsize


def _put_beside(weights: list[Any], path: Path) -> None:
    """Write tensors into a file, those that keep the next one aligned first, and leave in them where they are."""
    from onnx import numpy_helper

    weights = sorted(weights, key=lambda tensor: _bytes(tensor) % ALIGNED != 0)
    stops = np.cumsum([_bytes(tensor) for tensor in weights]).tolist()
    starts = [0, *stops[:-1]]
    entries = {
        tensor.name: {"dtype": TYPES[tensor.data_type], "shape": list(tensor.dims), "data_offsets": [start, stop]}
        for tensor, start, stop in zip(weights, starts, stops, strict=True)
    }
    header = json.dumps(entries).encode()
    header += b" " * (-(8 + len(header)) % ALIGNED)
    with open(path, "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for tensor, start in zip(weights, starts, strict=True):
            file.write(np.ascontiguousarray(numpy_helper.to_array(tensor)).tobytes())
            _refer(tensor, path.name, 8 + len(header) + start)


def _refer(tensor: Any, location: str, offset: int) -> None:
    """Leave of a tensor where its values are."""
    size = _bytes(tensor)
    for field in ("raw_data", "float_data", "int32_data", "int64_data", "external_data"):
        tensor.ClearField(field)
    tensor.data_location = type(tensor).EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", size)):
        tensor.external_data.add(key=key, value=str(value))
