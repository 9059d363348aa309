"""Smaller numbers in a graph: weights stored in 16 bits, and products in 8 where measured to be faster and near.

Stored in 16 bits, weights are widened once, when a session folds its constants; nothing is computed in 16 bits, so speed and
sums stay what they were. Weights that 16 bits hold exactly are always stored so: nothing changes but the size of the file.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .golden import FILE as GOLDEN
from .golden import Check, check
from .graph import quiet
from .runtime import StreamingCodec

HALF = ".half"  # behind the names of weights in 16 bits
LEAST = 1024  # values from which a tensor is worth a node
INT8_EQUAL = 0.99  # least share of equal codes
INT8_SNR = 40.0  # dB, least
INT8_FASTER = 0.9  # share of the time that it may take at most


def store_half(model: Any, rounding: bool = False) -> int:
    """Store weights in 16 bits; return how many values.

    Args:
        model: of ONNX, changed in place.
        rounding: also those that 16 bits do not hold exactly; others stay where they were.
    """
    from onnx import TensorProto, helper, numpy_helper

    nodes, stored = [], 0
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < LEAST or (half := _half(values, rounding)) is None:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, name + HALF))
        nodes.append(helper.make_node("Cast", [name + HALF], [name], f"widen.{name}", to=TensorProto.FLOAT))
        stored += values.size
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])
    return stored


def widen(model: Any) -> None:
    """Undo `store_half`, so that tools see weights where they look for them; what was rounded stays so."""
    from onnx import numpy_helper

    for tensor in model.graph.initializer:
        if tensor.name.endswith(HALF):
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name.removesuffix(HALF)))
    rest = [node for node in model.graph.node if not (node.op_type == "Cast" and node.input[0].endswith(HALF))]
    del model.graph.node[:]
    model.graph.node.extend(rest)


def _half(values: np.ndarray, rounding: bool) -> np.ndarray | None:
    """Return values in 16 bits, or None where they do not fit."""
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    exact = np.array_equal(half.astype(np.float32), values)
    return half if exact or (rounding and np.isfinite(half).all()) else None


def adopt_int8(folder: Path, plain: Check) -> Check:
    """Put a graph in 8 bits in place of each that it beats, and write what was measured into `codec.json`.

    Args:
        folder: of an exported codec, changed in place.
        plain: how near it comes as it is.

    Returns:
        How near it comes afterwards.
    """
    codec, measured, found = StreamingCodec(folder), {}, plain
    for side in filter(None, (codec.manifest.encoder, codec.manifest.decoder)):
        path = folder / side.file
        kept, before = path.read_bytes(), milliseconds(folder, side.file)
        _quantise(path)
        after, tried = milliseconds(folder, side.file), check(folder)
        near = tried.equal >= INT8_EQUAL and tried.snr >= INT8_SNR
        taken = near and after < INT8_FASTER * before
        figures = {"ms": round(before, 3), "ms_int8": round(after, 3), "equal": tried.equal, "snr": round(tried.snr, 1)}
        measured[side.file] = {**figures, "taken": taken}
        if taken:
            found = tried
        else:
            path.write_bytes(kept)
    replace(codec.manifest, options={**codec.manifest.options, "int8": measured}).write(folder)
    return found


def milliseconds(folder: Path, file: str, rounds: int = 15) -> float:
    """Return the median time of the processor for 80 ms of the golden audio through one side."""
    codec = StreamingCodec(folder)
    with np.load(folder / GOLDEN) as golden:
        audio, codes = golden["audio"], tuple(golden[f"codes.{n}"] for n in range(len(codec.manifest.streams)))
    encoding, times = file != codec.manifest.decoder.file, []
    for _ in range(rounds):
        start = time.process_time()
        if encoding:
            codec.encode(audio)
        else:
            codec.decode(codes)
        times.append(time.process_time() - start)
    return 1000 * sorted(times)[rounds // 2] * 0.08 * codec.sample_rate / audio.shape[-1]


def _quantise(path: Path) -> None:
    """Write a graph anew with its matrix products in 8 bits: weights per column, the other side per call."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(path)
    widen(model)
    onnx.save(model, path)
    options: dict[str, Any] = {"per_channel": True, "op_types_to_quantize": ["MatMul", "Gemm"]}
    with quiet():
        quantize_dynamic(path, path, weight_type=QuantType.QInt8, **options)
