"""A small state of a run, for machines that may be taken away: nearly the same run, in about four bytes per weight.

Weights are kept in half precision, their average as a difference from them in 63 levels, AdamW's moments per block of 256:
the first in 63 levels of a linear scale, the fourth root of the second in 255, so that small ones keep their size. Everything
is packed byte plane by byte plane. Codebooks with their counts and all that is not large are kept as they are.

Source of blockwise 8-bit moments: Dettmers et al., "8-bit Optimizers via Block-wise Quantization", 2022.
"""

import zlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

BLOCK = 256
STEPS = 31  # of the linear scale, on either side of zero: more cost space and bring no run nearer
SMALL = 4096  # elements up to which a tensor is kept as it is
Packed = dict[str, Any]


def pack_half(x: Tensor) -> Packed:
    """Return x in half precision, compressed; brain floats where half precision would overflow."""
    flat = x.detach().flatten().cpu()
    kind = "half" if float(flat.abs().max()) < 6e4 else "brain"
    values = flat.half() if kind == "half" else flat.bfloat16()
    return {"kind": kind, "shape": list(x.shape), "planes": _squeeze(values.view(torch.uint8).view(-1, 2).T)}


def pack_linear(x: Tensor) -> Packed:
    """Return x in 31 steps of each block's largest value, compressed."""
    blocks, scale = _blocks(x)
    steps = (blocks / scale.clamp(min=1e-30) * STEPS).round().to(torch.int8)
    return {
        "kind": "linear",
        "shape": list(x.shape),
        "scale": _squeeze_floats(scale),
        "planes": _squeeze(steps.view(torch.uint8)),
    }


def pack_positive(x: Tensor) -> Packed:
    """Return x >= 0 with its fourth root in 255 steps of each block's largest value, none of them zero, compressed."""
    roots, scale = _blocks(x.clamp(min=0).sqrt().sqrt())
    steps = (roots / scale.clamp(min=1e-30) * 255).round().clamp(min=1).to(torch.uint8)
    return {"kind": "positive", "shape": list(x.shape), "scale": _squeeze_floats(scale), "planes": _squeeze(steps)}


def unpack(packed: Packed) -> Tensor:
    """Return the float32 tensor of any of the above."""
    shape = packed["shape"]
    count = int(np.prod(shape))
    planes = torch.from_numpy(np.frombuffer(_expand(packed["planes"]), np.uint8).copy())
    if packed["kind"] in ("half", "brain"):
        kind = torch.half if packed["kind"] == "half" else torch.bfloat16
        return planes.view(2, count).T.contiguous().view(kind).float().view(shape)
    scale = torch.from_numpy(np.frombuffer(_expand(packed["scale"]), np.float32).copy())[:, None]
    if packed["kind"] == "linear":
        blocks = planes.view(torch.int8).view(-1, BLOCK).float() / STEPS * scale
    else:
        blocks = (planes.view(-1, BLOCK).float() / 255 * scale) ** 4
    return blocks.flatten()[:count].view(shape)


def pack_weights(weights: dict[str, Tensor], exact: set[str]) -> dict[str, Any]:
    """Return tensors by name, large ones of floats in half precision; those named in `exact` as they are."""
    return {name: value if name in exact or not _large(value) else pack_half(value) for name, value in weights.items()}


def pack_average(average: dict[str, Tensor], weights: dict[str, Any]) -> dict[str, Any]:
    """Return averaged weights as differences from weights that are packed already."""
    return {
        name: pack_linear(value.cpu() - unpack(weights[name])) if _is_packed(weights[name]) else value
        for name, value in average.items()
    }


def pack_optimizer(state: dict[str, Any]) -> dict[str, Any]:
    """Return an AdamW state with its moments packed."""
    moments = {
        number: {
            key: value if not (isinstance(value, Tensor) and _large(value)) else _MOMENTS[key](value)
            for key, value in entry.items()
        }
        for number, entry in state["state"].items()
    }
    return {**state, "state": moments}


def unpack_all(value: Any) -> Any:
    """Return a structure with everything in it unpacked."""
    if _is_packed(value):
        return unpack(value)
    if isinstance(value, dict):
        return {key: unpack_all(part) for key, part in value.items()}
    return [unpack_all(part) for part in value] if isinstance(value, list) else value


def unpack_average(average: dict[str, Any], weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return averaged weights, given the unpacked ones that they differ from."""
    return {name: weights[name] + unpack(value) if _is_packed(value) else value for name, value in average.items()}


_MOMENTS = {"exp_avg": pack_linear, "exp_avg_sq": pack_positive}


def _large(value: Tensor) -> bool:
    return value.is_floating_point() and value.numel() > SMALL


def _is_packed(value: Any) -> bool:
    return isinstance(value, dict) and "planes" in value and "shape" in value


def _blocks(x: Tensor) -> tuple[Tensor, Tensor]:
    """x as [blocks, BLOCK], zeros at the end, and each block's largest magnitude [blocks, 1]."""
    flat = x.detach().flatten().float().cpu()
    blocks = torch.nn.functional.pad(flat, (0, -len(flat) % BLOCK)).view(-1, BLOCK)
    return blocks, blocks.abs().amax(1, keepdim=True)


def _squeeze(values: Tensor) -> Tensor:
    """Compressed bytes as a tensor: torch.save writes bytes themselves as text, half as long again."""
    return torch.frombuffer(bytearray(zlib.compress(values.contiguous().numpy().tobytes(), 6)), dtype=torch.uint8)


def _expand(squeezed: Tensor) -> bytes:
    return zlib.decompress(squeezed.numpy().tobytes())


def _squeeze_floats(values: Tensor) -> Tensor:
    return _squeeze(values.float())
