"""Tokens as plain arrays: `.npz` and `.safetensors` hold every field, `.npy` only the codes. Nothing is ever unpickled."""

import io
import json
import math
import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save

from .errors import ShapeError, TokenFileError
from .files import atomic_path
from .tokenfile_bytes import brief
from .tokenfile_header import Header
from .tokens import Tokens

FORMAT = "toneme-tokens"
MAX_INFLATED = 1 << 26  # bytes that a compressed array may grow to; stored arrays have no limit but their own size
_NPY_HEADER = re.compile(
    rb"\{'descr': '([<|](?:[uif][1248]|U\d{1,7}))', 'fortran_order': False, 'shape': \(([\d, ]{0,99})\), \}\s*"
)
MAX_MEMBERS = 64
_ZIP_ERRORS = (
    zipfile.BadZipFile, ValueError, TypeError, KeyError, IndexError, EOFError, NotImplementedError, RuntimeError, OSError,
    OverflowError, zlib.error, struct.error,
)  # fmt: skip
MAX_ABOUT = 1 << 20  # bytes of the description


def write_npz(tokens: Tokens, path: str | Path) -> None:
    """Write all fields as `.npz`: codes (codes_0, codes_1, ... where there are several streams), lengths, n_samples, side."""
    arrays = _to_arrays(tokens) | {"about": np.array(_about(tokens))}
    buffer = io.BytesIO()
    # without allow_pickle=False, which NumPy before 2.1 keeps as one of the arrays
    np.savez(buffer, **arrays)  # pyright: ignore[reportArgumentType]
    write_bytes(path, buffer.getvalue())


def write_safetensors(tokens: Tokens, path: str | Path) -> None:
    """Write all fields as `.safetensors`, the description in its metadata."""
    write_bytes(path, save(_to_arrays(tokens), {"about": _about(tokens)}))


def write_npy(tokens: Tokens, path: str | Path) -> None:
    """Write the codes of one item alone, [codebooks, frames].

    Raises:
        ShapeError: if there are several items or streams.
    """
    if tokens.batch != 1 or len(tokens.streams) != 1:
        raise ShapeError("a .npy file holds one item of one stream: save tokens[i], or use .npz, which holds everything")
    buffer = io.BytesIO()
    np.save(buffer, _to_arrays(tokens[0])["codes"][0], allow_pickle=False)
    write_bytes(path, buffer.getvalue())


def read_npz(data: bytes) -> Tokens:
    """Read what `write_npz` wrote.

    Raises:
        TokenFileError: if it is damaged, or not of tokens.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_members(archive.infolist(), len(data))
            arrays = {info.filename.removesuffix(".npy"): _npy_member(archive, info) for info in archive.infolist()}
        about = arrays.pop("about")
        text = str(about) if about.dtype.kind == "U" and about.size == 1 else ""
    except _ZIP_ERRORS as error:
        raise TokenFileError(f"this .npz file is damaged or holds no tokens ({brief(error)}): make it anew") from None
    return _from_arrays(arrays, text)


def read_safetensors(data: bytes) -> Tokens:
    """Read what `write_safetensors` wrote.

    Raises:
        TokenFileError: if it is damaged, or not of tokens.
    """
    try:
        arrays = load(data)
        length = struct.unpack("<Q", data[:8])[0]
        about = json.loads(data[8 : 8 + length])["__metadata__"]["about"]
    except (SafetensorError, struct.error, ValueError, KeyError, TypeError, RecursionError) as error:
        raise TokenFileError(f"this .safetensors file is damaged or holds no tokens ({brief(error)}): make it anew") from None
    return _from_arrays(arrays, about)


def _check_members(members: list[zipfile.ZipInfo], size: int) -> None:
    """Refuse archives that would grow beyond what they hold: by compression, or by naming the same bytes again and again."""
    stored = sum(info.file_size for info in members if info.compress_type == zipfile.ZIP_STORED)
    inflated = sum(info.file_size for info in members if info.compress_type == zipfile.ZIP_DEFLATED)
    known = all(info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for info in members)
    if not known or len(members) > MAX_MEMBERS or stored > size or inflated > MAX_INFLATED:
        raise ValueError(f"it claims {len(members)} arrays of {stored + inflated} bytes in a file of {size} bytes")


def _npy_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(info) as member:
        content = member.read()
    return parse_npy(content, info.filename)


def parse_npy(content: bytes, name: str) -> np.ndarray:
    """Return the array of a `.npy` file's content, without evaluating its header.

    Raises:
        ValueError: if it holds objects, or other bytes than its shape takes.
    """
    size = {1: 10, 2: 12}.get(content[6] if len(content) > 12 else 0)
    if size is None or content[:6] != b"\x93NUMPY":
        raise ValueError(f"{name} does not begin as a .npy file does")
    at = size + int.from_bytes(content[8:size], "little")
    header = _NPY_HEADER.fullmatch(content[size:at])
    if header is None:
        raise ValueError(f"the .npy header of {name} is not that of a plain array")
    dtype = np.dtype(header[1].decode())
    shape = tuple(int(n) for n in header[2].decode().split(",") if n.strip())
    if len(shape) > 8 or dtype.itemsize * math.prod(shape) != len(content) - at:
        raise ValueError(f"{name} has {len(content) - at} bytes, and its shape {shape} of {dtype} takes another number")
    return np.frombuffer(content, dtype, offset=at).reshape(shape) if math.prod(shape) else np.zeros(shape, dtype)


def _to_arrays(tokens: Tokens) -> dict[str, np.ndarray]:
    arrays = {"lengths": tokens.lengths.cpu().numpy(), "n_samples": tokens.n_samples.cpu().numpy()}
    for i, (codes, sizes) in enumerate(zip(tokens.streams, tokens.codebook_sizes, strict=True)):
        small = np.uint16 if max(sizes, default=1) <= 1 << 16 else np.uint32
        arrays[_stream_name(i, len(tokens.streams))] = np.ascontiguousarray(codes.detach().cpu().numpy().astype(small))
    for name, values in tokens.side.items():
        arrays[f"side.{name}"] = np.ascontiguousarray(values.detach().cpu().float().numpy())
    return arrays


def _stream_name(i: int, streams: int) -> str:
    return "codes" if streams == 1 else f"codes_{i}"


def _about(tokens: Tokens) -> str:
    header = Header.of(tokens)
    fields: dict[str, Any] = {
        "format": FORMAT, "version": 1, "codec": header.codec, "weights_hash": header.weights_hash,
        "sample_rate": header.sample_rate, "channels": header.channels, "frame_rates": header.frame_rates,
        "codebook_sizes": header.codebook_sizes, "side": header.side, "side_period": tokens.side_period,
        "metadata": dict(header.metadata),
    }  # fmt: skip
    return json.dumps(fields)


def _from_arrays(arrays: dict[str, np.ndarray], about: str) -> Tokens:
    try:
        header, side_period = _header(about)
        streams = tuple(_codes(arrays, header, i) for i in range(len(header.frame_rates)))
        tokens = Tokens(
            streams, _whole(arrays["lengths"]), _whole(arrays["n_samples"]), header.codec, header.weights_hash,
            header.sample_rate, header.channels, header.frame_rates, header.codebook_sizes,
            {name: torch.from_numpy(arrays[f"side.{name}"].astype(np.float32)) for name in header.side},
            side_period, dict(header.metadata),
        )  # fmt: skip
        _check_shapes(tokens)
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise TokenFileError(f"this file does not hold tokens as Tokens.save writes them: {brief(error)}") from None
    return tokens


def _header(about: str) -> tuple[Header, int]:
    if len(about) > MAX_ABOUT:
        raise ValueError(f"the description is longer than {MAX_ABOUT} characters")
    fields = json.loads(about)
    if fields["format"] != FORMAT or fields["version"] != 1:
        raise ValueError(f"expected format {FORMAT} version 1, got {fields['format']} {fields['version']}")
    header = Header(
        str(fields["codec"]), str(fields["weights_hash"]), int(fields["sample_rate"]), int(fields["channels"]),
        tuple(float(rate) for rate in fields["frame_rates"]),
        tuple(tuple(int(size) for size in sizes) for sizes in fields["codebook_sizes"]),
        None, tuple(str(name) for name in fields["side"]), int(fields["side_period"]) if fields["side"] else 0,
        "entropy", {str(key): str(value) for key, value in fields["metadata"].items()},
    )  # fmt: skip
    return header.checked(), int(fields["side_period"])


def _codes(arrays: dict[str, np.ndarray], header: Header, i: int) -> torch.Tensor:
    codes = arrays[_stream_name(i, len(header.frame_rates))]
    sizes = np.array(header.codebook_sizes[i])
    if codes.dtype.kind not in "ui" or codes.ndim != 3 or codes.shape[1] != len(sizes):
        raise ValueError(f"codes must be integers [batch, {len(sizes)}, frames], got {codes.dtype} {codes.shape}")
    codes = codes.astype(np.int64)
    if codes.size and (codes.min() < 0 or (codes.max((0, 2)) >= sizes).any()):
        raise ValueError("codes are out of their codebooks' range")
    return torch.from_numpy(codes)


def _whole(values: np.ndarray) -> torch.Tensor:
    if values.dtype.kind not in "ui" or (values.size and values.min() < 0):
        raise ValueError("lengths and n_samples must be integers from 0 up")
    return torch.from_numpy(values.astype(np.int64))


def _check_shapes(tokens: Tokens) -> None:
    batch, streams = tokens.n_samples.shape, len(tokens.streams)
    if len(batch) != 1 or tokens.lengths.shape != (*batch, streams) or any(c.shape[:1] != batch for c in tokens.streams):
        raise ValueError(f"codes, lengths and n_samples must agree about the batch, got {tuple(batch)}")
    frames = torch.tensor([codes.shape[2] for codes in tokens.streams])
    if (tokens.lengths > frames).any():
        raise ValueError(f"lengths must be at most {frames.tolist()}, the frames that are there")
    most = int(frames[0]) if tokens.side_period else 0
    if any(values.ndim != 2 or values.shape[0] != batch[0] or values.shape[1] > most for values in tokens.side.values()):
        raise ValueError(f"side numbers must be [{batch[0]}, at most {most}]")


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a whole file, or none.

    Raises:
        TokenFileError: if it cannot be written.
    """
    try:
        with atomic_path(path) as partial:
            partial.write_bytes(data)
    except OSError as error:
        reason = error.strerror or error
        raise TokenFileError(f"{path} cannot be written ({reason}): choose another place, or make room") from None
