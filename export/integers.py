"""Products in 8 bits: a quarter of the weights to read, which is what a step of a stream takes its time for.

Rows are quantized by the range that one call holds, weights by column; the sum is exact. What one call holds therefore
shows in its results: the pieces of a stream, joined, are near those of the whole and no longer equal to them. Only products
that follow a norm or a GELU are taken, whose values lie close together; the search for codes and the transforms stay as
they are.

Weights use 7 of the 8 bits: AVX2 adds two products in 16 bits and would cut off greater ones.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..kernels.errors import CheckpointError
from ..kernels.onnx_runtime import load_onnxruntime
from .golden import read_golden
from .runtime import StreamingCodec

LEAST = 1 << 15  # values of a weight from which reading it takes longer than quantizing what it is multiplied with
LEVELS = 63
BEFORE = ("LayerNormalization", "Gelu", "Erf")  # what the input of such a product comes from
THROUGH = ("Reshape", "Mul", "Add")
LEAST_EQUAL, LEAST_SNR = 0.5, 20.0  # of codes, and dB, under which 8 bits are no use however fast
STEP, TURNS = 0.08, 9  # seconds of audio in a push, and runs whose median counts


@dataclass(frozen=True)
class Trial:
    """What 8 bits did to one direction.

    Attributes:
        near: share of codes that are those of 32 bits, or the SNR of the audio against it, dB.
        speed: time of 32 bits over that of 8.
        kept: whether its graph is in 8 bits.
        why: in words, where it is not.
    """

    near: float
    speed: float
    kept: bool
    why: str = ""


def store_integers(model: Any, folder: Path) -> int:
    """Turn products of an ONNX model into those of 8 bits, in place; return how many.

    Constants that are computed from others are folded first, since a weight must be known to be quantized: by ONNX Runtime,
    which gives the result as a file alone, in `folder` for that time.

    Raises:
        CheckpointError: if that file cannot be written.
    """
    folded = _folded(model, folder / "folded.onnx")
    graph, count, nodes = folded.graph, 0, []
    weights = {tensor.name: tensor for tensor in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    for node in graph.node:
        if _taken(node, weights, makers):
            nodes.extend(_quantized(node, weights, graph))
            count += 1
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    _drop_unused(graph)
    model.CopyFrom(folded)
    return count


def _folded(model: Any, path: Path) -> Any:
    """Return the model after ONNX Runtime's basic optimizations, which use ONNX's own operators alone."""
    import onnx

    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    options.optimized_model_filepath = str(path)
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        folded = onnx.load(str(path))
    except Exception as error:  # onnxruntime's own types are not exported everywhere; none of them says what the disk said
        said = f"ONNX Runtime could not fold the graph into {path} ({str(error)[:200]})"
        raise CheckpointError(f"{said}: where the disk is full, free some space; else export without --int8") from None
    path.unlink()
    return folded


def _taken(node: Any, weights: dict[str, Any], makers: dict[str, Any]) -> bool:
    if node.op_type not in ("Gemm", "MatMul") or node.input[1] not in weights:
        return False
    size = weights[node.input[1]].dims
    if len(size) != 2 or size[0] * size[1] < LEAST:
        return False
    return _bounded(makers.get(node.input[0]), makers)


def _bounded(node: Any, makers: dict[str, Any], steps: int = 5) -> bool:
    """Return whether what a node gives is a norm's or a GELU's, seen through so many views and pointwise operators."""
    if node is None or node.op_type in BEFORE:
        return node is not None
    return bool(steps) and node.op_type in THROUGH and any(_bounded(makers.get(x), makers, steps - 1) for x in node.input)


def _quantized(node: Any, weights: dict[str, Any], graph: Any) -> Iterator[Any]:
    """Give the nodes in place of a product, in the order in which ONNX Runtime takes them for one operator."""
    from onnx import helper, numpy_helper

    values = numpy_helper.to_array(weights[node.input[1]])
    if any(field.name == "transB" and field.i for field in node.attribute):
        values = values.T
    scale = np.maximum(np.abs(values).max(axis=0), 1e-12).astype(np.float32) / LEVELS
    out = node.output[0]
    parts = ("weight", "zero", "scale", "row", "rowscale", "rowzero", "sum", "float", "by", "raw")
    n = {part: f"{out}.{part}" for part in parts}
    integers = np.ascontiguousarray(np.rint(values / scale).astype(np.int8))
    for part, array in (("weight", integers), ("zero", np.zeros(len(scale), np.int8)), ("scale", scale)):
        graph.initializer.append(numpy_helper.from_array(array, n[part]))
    bias = node.input[2] if len(node.input) > 2 else ""
    yield helper.make_node("DynamicQuantizeLinear", [node.input[0]], [n["row"], n["rowscale"], n["rowzero"]])
    yield helper.make_node("MatMulInteger", [n["row"], n["weight"], n["rowzero"], n["zero"]], [n["sum"]])
    yield helper.make_node("Cast", [n["sum"]], [n["float"]], to=1)
    yield helper.make_node("Mul", [n["rowscale"], n["scale"]], [n["by"]])
    yield helper.make_node("Mul", [n["float"], n["by"]], [n["raw"] if bias else out])
    if bias:
        yield helper.make_node("Add", [n["raw"], bias], [out])


def _drop_unused(graph: Any) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def times(calls: list[Callable[[], object]]) -> list[float]:
    """Return the median processor time of each call in seconds, run in turns."""
    for call in calls:
        call()
    rows = [[_seconds(call) for call in calls] for _ in range(TURNS)]
    return [statistics.median(column) for column in zip(*rows, strict=True)]


def _seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def streamed(codec: StreamingCodec, audio: np.ndarray) -> Callable[[], object]:
    """Return a call that codes audio as a stream of short pieces."""
    size = round(STEP * codec.sample_rate)

    def call() -> object:
        stream = codec.encoder(len(audio))
        return [stream.push(audio[..., at : at + size]) for at in range(0, audio.shape[-1], size)] + [stream.flush()]

    return call


def sounded(codec: StreamingCodec, streams: tuple[np.ndarray, ...]) -> Callable[[], object]:
    """Return a call that sounds codes as a stream of short pieces."""
    units = max(1, round(STEP * codec.sample_rate / codec.manifest.decoder.unit))

    def call() -> object:
        stream = codec.decoder(len(streams[0]))
        count = streams[0].shape[-1] // stream.ratios[0]
        pieces = [
            tuple(part[..., at * n : (at + units) * n] for part, n in zip(streams, stream.ratios, strict=True))
            for at in range(0, count, units)
        ]
        return [stream.push(piece) for piece in pieces] + [stream.flush()]

    return call


def judged(near: float, least: float, what: str, seconds: list[float]) -> Trial:
    """Return whether 8 bits are kept: only where they are near enough, and faster."""
    speed = seconds[0] / seconds[1]
    why = f"{what} under {least:g}" if near < least else "not faster" if speed <= 1 else ""
    return Trial(round(near, 4), round(speed, 2), not why, why)


def compare(floats: StreamingCodec, integers: StreamingCodec, sides: Sequence[str]) -> dict[str, Trial]:
    """Try the directions of a codec, "encoder" and "decoder", on the golden audio and codes in its folder."""
    audio, streams, _ = read_golden(floats.folder)
    tries = {"encoder": lambda: try_encoder(floats, integers, audio), "decoder": lambda: try_decoder(floats, integers, streams)}
    return {name: tries[name]() for name in sides}


def try_encoder(floats: StreamingCodec, integers: StreamingCodec, audio: np.ndarray) -> Trial:
    """Compare encoders by their codes of audio."""
    found, expected = (joined(codec.encode(audio)) for codec in (integers, floats))
    near = float((found == expected).mean())
    return judged(near, LEAST_EQUAL, "share of equal codes", times([streamed(codec, audio) for codec in (floats, integers)]))


def try_decoder(floats: StreamingCodec, integers: StreamingCodec, streams: tuple[np.ndarray, ...]) -> Trial:
    """Compare decoders by their audio of codes."""
    found, expected = (codec.decode(streams).astype(np.float64) for codec in (integers, floats))
    noise = max(float(np.square(found - expected).mean()), 1e-30)
    near = 10 * math.log10(max(float(np.square(expected).mean()), 1e-30) / noise)
    return judged(near, LEAST_SNR, "SNR in dB", times([sounded(codec, streams) for codec in (floats, integers)]))


def joined(codes: "np.ndarray | tuple[np.ndarray, ...]") -> np.ndarray:
    """Return the codes of all streams in one row."""
    return np.concatenate([part.reshape(-1) for part in (codes if isinstance(codes, tuple) else (codes,))])
