"""EnCodec's own file format, `.ecdc`, read and written without its language model.

The format is that of `encodec.compress` (Défossez et al., "High Fidelity Neural Audio Compression", arXiv:2210.13438, and its
code): `ECDC`, version 0, the big-endian length of a JSON object, that object, then per segment a big-endian float32 scale
(48 kHz only) and the codes, frame by frame, 10 bits each, least significant bit first, filled up to a whole byte.
"""

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from .bitpack import pack, packed_bytes, unpack
from .errors import ShapeError, TokenFileError
from .tokenfile_bytes import brief
from .tokens import Tokens

if TYPE_CHECKING:
    from .base import Codec

MAGIC = b"ECDC"
_START = struct.Struct("!4sBI")
_BITS = 10
_MAX_JSON = 1 << 16


@dataclass(frozen=True)
class EcdcModel:
    """What the format takes for granted about a model."""

    sample_rate: int
    channels: int
    frame_rate: int
    codebooks: int
    segment: int | None  # samples of a segment, None where the whole is one
    stride: int | None  # samples from one segment to the next


MODELS = {
    "encodec_24khz": EcdcModel(24000, 1, 75, 32, None, None),
    "encodec_48khz": EcdcModel(48000, 2, 150, 16, 48000, 47520),
}


def segment_frames(model: EcdcModel, n_samples: int) -> "list[int] | range":
    """Return the frames of each segment of audio this long (all full but the last, or few, at the end)."""
    if model.segment is None or model.stride is None:
        return [math.ceil(n_samples * model.frame_rate / model.sample_rate)] if n_samples else []
    starts = range(0, n_samples, model.stride)
    return [math.ceil(min(model.segment, n_samples - at) * model.frame_rate / model.sample_rate) for at in starts]


def write_ecdc(tokens: Tokens, path: str | Path) -> None:
    """Write one item of tokens made by EnCodec.

    Raises:
        ShapeError: if the tokens are not of one item of EnCodec's.
        TokenFileError: if the file cannot be written.
    """
    from .arrayfile import write_bytes

    write_bytes(path, to_ecdc(tokens))


def to_ecdc(tokens: Tokens) -> bytes:
    """Return the content of a `.ecdc` file.

    Raises:
        ShapeError: if the tokens are not of one item of EnCodec's.
    """
    if tokens.batch != 1 or tokens.codec not in MODELS:
        raise ShapeError(f".ecdc holds one item of {' or '.join(MODELS)}; got {tokens.batch} of {tokens.codec}: save as .tok")
    model, n_samples, item = MODELS[tokens.codec], int(tokens.n_samples[0]), tokens[0]
    about = json.dumps({"m": tokens.codec, "al": n_samples, "nc": tokens.depth, "lm": False}).encode()
    codes, frames = item.codes[0].cpu().numpy(), list(segment_frames(model, n_samples))
    scales = item.side["scale"][0].tolist() if model.segment and "scale" in item.side else []
    if sum(frames) != codes.shape[1] or len(scales) != (len(frames) if model.segment else 0):
        raise ShapeError(
            f"{n_samples} samples take {sum(frames)} frames and, at 48 kHz, {len(frames)} scales; got {codes.shape[1]} frames "
            f"and {len(scales)} scales"
        )
    out, at = [_START.pack(MAGIC, 0, len(about)), about], 0
    for i, count in enumerate(frames):
        scale = struct.pack("!f", scales[i]) if model.segment else b""
        out.append(scale + pack([codes[:, at : at + count].T.ravel()], [_BITS]))
        at += count
    return b"".join(out)


def read_ecdc(data: bytes, codec: "Codec | str | None" = None) -> Tokens:
    """Read the content of a `.ecdc` file.

    Args:
        data: all bytes of the file.
        codec: the codec that made it, or its name; the file only holds the model's name.

    Raises:
        TokenFileError: if it is damaged, was coded with the language model, or is of an unknown model.
    """
    name, n_samples, depth, at = _read_start(data)
    model = MODELS[name]
    frame_bits = depth * _BITS
    if n_samples * model.frame_rate // model.sample_rate * frame_bits // 8 > len(data) - at:
        raise TokenFileError(
            f"this .ecdc file claims {n_samples} samples, and {len(data) - at} bytes follow byte {at}: it was cut short"
        )
    rows, scales = [], []
    for frames in segment_frames(model, n_samples):
        scale_bytes = 4 if model.segment else 0
        end = at + scale_bytes + packed_bytes([frames * depth], [_BITS])
        if end > len(data):
            raise TokenFileError(
                f"this .ecdc file ends at byte {len(data)}, within the segment that begins at byte {at}: it was cut short"
            )
        scales += struct.unpack("!f", data[at : at + 4]) if scale_bytes else []
        rows.append(_unpack(data[at + scale_bytes : end], frames, depth))
        at = end
    if at != len(data):
        raise TokenFileError(f"bytes follow the end of this .ecdc file, at byte {at}: cut them off")
    codes = np.concatenate(rows, axis=1) if rows else np.zeros((depth, 0), np.int64)
    return _tokens(name, model, codes, scales, n_samples, codec)


def _read_start(data: bytes) -> tuple[str, int, int, int]:
    """Return the model's name, the samples, the codebooks and the byte where the codes begin."""
    if len(data) < _START.size or data[:4] != MAGIC:
        raise TokenFileError(f"this is not a whole .ecdc file: its {_START.size} first bytes are cut or foreign, at byte 0")
    _, version, length = _START.unpack_from(data)
    if version != 0:
        raise TokenFileError(f"this .ecdc file has version {version}, at byte 4, and only version 0 is known: re-encode it")
    at = _START.size + length
    if length > _MAX_JSON or at > len(data):
        raise TokenFileError(f"this .ecdc file claims {length} bytes of description at byte 5, and {len(data)} bytes are there")
    try:
        about = json.loads(data[_START.size : at])
        name, n_samples, depth, lm = about["m"], about["al"], about["nc"], about["lm"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        problem = brief(error)
        raise TokenFileError(f"the description of this .ecdc file, at byte {_START.size}, is not valid ({problem})") from None
    if not isinstance(name, str) or name not in MODELS:
        raise TokenFileError(
            f"this .ecdc file is of model {str(name)[:64]!r}, at byte {_START.size}; known are {', '.join(MODELS)}"
        )
    if lm is not False:
        raise TokenFileError(
            "this .ecdc file was coded with EnCodec's language model (encodec --lm), whose floating-point network is not read "
            "here: decode it by the encodec package, or encode the audio again without --lm"
        )
    if type(n_samples) is not int or type(depth) is not int or n_samples < 0 or not 1 <= depth <= MODELS[name].codebooks:
        raise TokenFileError(
            f"the description of this .ecdc file, at byte {_START.size}, is not valid: it takes samples from 0 up and 1 to "
            f"{MODELS[name].codebooks} codebooks, got {n_samples!r:.40} and {depth!r:.40}"
        )
    return name, n_samples, depth, at


def _unpack(data: bytes, frames: int, depth: int) -> np.ndarray:
    padded = np.frombuffer(data, np.uint8).copy()
    if frames * depth * _BITS % 8:  # what fills the last byte is not specified
        padded[-1] &= (1 << frames * depth * _BITS % 8) - 1
    return unpack(padded.tobytes(), [frames * depth], [_BITS])[0].reshape(frames, depth).T


def _tokens(
    name: str, model: EcdcModel, codes: np.ndarray, scales: list[float], n_samples: int, codec: "Codec | str | None"
) -> Tokens:
    side = {"scale": torch.tensor([scales], dtype=torch.float32)} if model.segment else {}
    batch = torch.from_numpy(np.ascontiguousarray(codes))[None]
    if codec is not None and not isinstance(codec, str):
        return codec.tokens_from_codes(batch, n_samples, side)
    period = math.ceil(model.segment * model.frame_rate / model.sample_rate) if model.segment else 0
    return Tokens(
        (batch,), torch.tensor([[codes.shape[1]]]), torch.tensor([n_samples]), codec or name, "", model.sample_rate,
        model.channels, (float(model.frame_rate),), ((1024,) * codes.shape[0],), side, period,
    )  # fmt: skip
