"""The folder of an exported codec: `encoder.onnx`, `decoder.onnx`, `codec.json`, `golden.npz`.

A codec in chunks also has the graphs' weights, `encoder.data` and `decoder.data` (`storage`).
"""

import importlib
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..codecs.base import Codec
from ..codecs.errors import CheckpointError, MissingDependencyError, how_to_install
from ..kernels.library import library
from ..kernels.onnx_runtime import load_onnxruntime
from .golden import Check, check, write_golden
from .graph import Direction, build, require_exporter, state_list
from .integers import compare, store_integers
from .manifest import DIRECTIONS, FILE, LABEL, Manifest, Side, Stream, read_manifest
from .packing import use_kernels
from .precision import store_half
from .runtime import StreamingCodec
from .storage import beside, files_of, write_graph

FAMILIES = {  # family -> module with `directions(codec, codebooks)`
    "dac": ".dac",
    "encodec": ".encodec",
    "mimi": ".mimi",
    "snac": ".snac",
    "toneme": ".toneme24k",
    "wavtokenizer": ".wavtokenizer",
    "xcodec": ".xcodec",
}
LEAST_EQUAL = 0.995  # share of the golden codes under which a graph is wrong rather than rounded
MOST_ERROR, MOST_HALF_ERROR = 1e-3, 0.1  # of a sample, beyond which it is not rounding either


def export_codec(
    codec: Codec,
    folder: str | Path,
    codebooks: int | None = None,
    half: bool = False,
    integers: Sequence[str] = (),
) -> Check:
    """Write an exported codec into a folder, which is made if need be; nothing is left there unless all went well.

    Args:
        codec: of a family that can be exported.
        folder: to write to; files of the same names are replaced.
        codebooks: that the encoder gives, all by default: fewer take less time, since a search costs the same for each. The
            runtime gives any fewer of them.
        half: store the decoder's weights in 16 bits though that rounds them.
        integers: directions, "encoder" and "decoder", in which to try products of 8 bits, and to keep them where they are near
            enough and faster; what was measured stands in `codec.json` under `options`.

    Returns:
        How near the graphs come to PyTorch on `golden.npz`.

    Raises:
        CheckpointError: if the family cannot be exported, the graphs do not do what the codec does, `integers` are asked
            for and nothing in them could be, or ONNX Runtime could not open a folder of this name.
        MissingDependencyError: if onnx, onnxscript or onnxruntime is not installed.
        ShapeError: if there are fewer codebooks.
    """
    require_exporter()
    require_runtime()
    codebooks, folder = codec.spec.check_codebooks(codebooks), Path(folder)
    _check_name(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        _write(codec.eval(), codebooks, half, partial)
        found = check(partial)
        if found.equal < LEAST_EQUAL or found.error > (MOST_HALF_ERROR if half else MOST_ERROR):
            raise CheckpointError(
                f"the graphs of {codec.name} do not do what the codec does ({found.equal:.2%} of codes equal, samples off by "
                f"{found.error:.1e}): this is a bug of the export, please report it with the versions of torch and onnx"
            )
        found = try_integers(partial, integers) if integers else found
        folder.mkdir(exist_ok=True)
        for name in DIRECTIONS:  # of another codec, which would be in the way of none but fill the disk
            beside(folder / f"{name}.onnx").unlink(missing_ok=True)
        for file in sorted(partial.iterdir(), key=lambda path: path.name == FILE):  # what makes it a codec comes last
            os.replace(file, folder / file.name)
        return found
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def try_integers(folder: Path, directions: Sequence[str] = DIRECTIONS) -> Check:
    """Put graphs with products of 8 bits in place of those that they beat, and write down what was measured.

    Raises:
        CheckpointError: if there is no product that 8 bits could make faster, or the disk is full.
    """
    import onnx

    manifest, other = read_manifest(folder), folder / "integers"
    other.mkdir()
    manifest.write(other)
    sides = {name: side for name in directions if (side := getattr(manifest, name)) is not None}
    counts = {}
    for name, side in sides.items():
        model = onnx.load(str(folder / side.file))
        counts[name] = store_integers(model, other)
        _store(model, other, side)
    if not any(counts.values()):
        raise CheckpointError(
            f"{manifest.codec} has no products after a norm or a GELU, which 8 bits make faster: export without --int8"
        )
    trials = compare(StreamingCodec(folder), StreamingCodec(other), [name for name, count in counts.items() if count])
    for name, trial in trials.items():
        for file in files_of(other, sides[name]) if trial.kept else ():
            os.replace(file, folder / file.name)
    shutil.rmtree(other)
    options = {**manifest.options, "int8": {name: asdict(trial) for name, trial in trials.items()}}
    replace(manifest, options=options).write(folder)
    return check(folder)


def directions_of(codec: Codec, codebooks: int) -> tuple[Direction | None, Direction]:
    """Return how a codec is exported, both ways; None for an encoder that needs more than its graph could hold.

    Raises:
        CheckpointError: if its family cannot be.
    """
    if codec.family not in FAMILIES:
        raise CheckpointError(
            f"codecs of the family {codec.family} cannot be exported; those of {', '.join(sorted(FAMILIES))} can"
        )
    return importlib.import_module(FAMILIES[codec.family], __package__).directions(codec, codebooks)


def require_runtime() -> None:
    """Raise MissingDependencyError where onnxruntime is not installed."""
    try:
        load_onnxruntime()
    except ImportError:
        raise MissingDependencyError(f"to export, install onnxruntime: {how_to_install('export')}") from None


def _check_name(folder: Path) -> None:
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise CheckpointError(f"{folder} is no name in UTF-8, and ONNX Runtime opens no other: name another folder") from None


def _write(codec: Codec, codebooks: int, half: bool, folder: Path) -> None:
    sides: dict[str, Side | None] = {}
    for name, direction in zip(DIRECTIONS, directions_of(codec, codebooks), strict=True):
        if direction is None:
            sides[name] = None
            continue
        model = build(direction.network.eval(), direction.sizes)
        sides[name] = replace(direction.side, states=state_list(direction.network))
        _label(model, {"toneme.codec": codec.name, LABEL: codec.weights_hash})
        _store(model, folder, direction.side, rounding=half and name == "decoder")
    manifest_of(codec, codebooks, sides).write(folder)
    write_golden(codec, codebooks, folder)


def manifest_of(codec: Codec, codebooks: int, sides: Mapping[str, Side | None]) -> Manifest:
    """Return what `codec.json` says of a codec whose encoder gives so many codebooks."""
    spec, left, streams = codec.spec, codebooks, []
    for stream in spec.streams:
        kept = min(left, len(stream.codebook_sizes))
        left -= kept
        roles = (stream.roles or ("acoustic",) * len(stream.codebook_sizes))[:kept]
        streams.append(Stream(stream.hop, stream.codebook_sizes[:kept], roles))
    assert sides["decoder"] is not None
    return Manifest(
        codec.name, codec.family, codec.weights_hash, spec.licence, spec.sample_rate, spec.channels, tuple(streams),
        sides["encoder"], sides["decoder"], codec.stream_encoder().window,
    )  # fmt: skip


def _store(model: Any, folder: Path, side: Side, rounding: bool = False) -> None:
    """Write a direction's model with weights in 16 bits, where these hold them or they may be rounded, and our operators.

    Matrices in 32 bits lie as our kernels read them where there are such: others have them as ONNX Runtime does.
    """
    store_half(model, rounding)
    use_kernels(model, packed=library() is not None)
    write_graph(model, folder, side)


def _label(model: Any, labels: Mapping[str, str]) -> None:
    for key, value in labels.items():
        model.metadata_props.add(key=key, value=value)
