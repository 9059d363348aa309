"""Golden cases: made weights under official names, and what the official implementations give with them."""

import functools
import hashlib
import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

GOLDENS = Path(__file__).parent.parent / "goldens"
NEAR_TIE = 1e-4  # squared distances closer than this are told apart by rounding alone, says the goldens' own account


@functools.cache
def _fill():
    spec = importlib.util.spec_from_file_location("goldens_fill", GOLDENS / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@functools.cache
def golden_weights(name: str) -> dict[str, Tensor]:
    """Return the full-size weights of a golden model, official name -> tensor."""
    fill = _fill()
    return {key: torch.from_numpy(value) for key, value in fill.state_dict(fill.load_spec(str(GOLDENS / name))).items()}


def fill_in_pieces(tensor: Tensor, name: str, gain: float, salt: str, piece: int = 1 << 24) -> None:
    """Fill a matrix as the rule `fan_in` does, in little memory."""
    fill, flat = _fill(), tensor.view(-1)
    seed = int.from_bytes(hashlib.sha256(f"{salt}/{name}".encode()).digest()[:16], "little")
    stream, std = np.random.PCG64(seed), gain / math.sqrt(tensor[0].numel())
    for first in range(0, len(flat), piece):
        parts = stream.random_raw(min(piece, len(flat) - first)).astype("<u8").view("<u2").reshape(-1, 4)
        values = (parts.sum(1, dtype=np.int32) - fill._MEAN) * (1.0 / fill._STD) * std
        flat[first : first + piece] = torch.from_numpy(values.astype(np.float32))


def golden_spec(name: str) -> dict:
    """Return what the golden model's `spec.json` says."""
    return json.loads((GOLDENS / name / "spec.json").read_text())


def golden_case(name: str, case: str) -> dict[str, np.ndarray]:
    """Return the arrays of one case."""
    with np.load(GOLDENS / name / f"case_{case}.npz") as file:
        return {key: file[key] for key in file.files}


def check_codes(codes: Tensor, expected: np.ndarray, margin: np.ndarray) -> None:
    """Fail unless 99.9 % of the codes [batch, codebooks, frames] are equal and every frame's first other one is a near tie."""
    other = codes.numpy() != expected
    assert codes.shape == expected.shape
    assert other.mean() <= 0.001
    first = other & (other.cumsum(1) == 1)
    assert (margin[first] < NEAR_TIE).all(), margin[first]
