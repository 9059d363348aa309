"""Items of a batch that are worked on together, since they are of one length, and their way back into its order."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from .errors import ShapeError
from .tokens import Tokens, used_side

Codes = Tensor | np.ndarray
Encoded = tuple[tuple[Tensor, ...], dict[str, Tensor]]  # streams of codes, side numbers


def as_streams(codes: "Codes | Sequence[Codes]") -> tuple[Tensor, ...]:
    """Return codes, or a sequence of them where rates differ, as a tuple of tensors; arrays are taken too.

    Raises:
        ShapeError: if they are neither tensors nor arrays of integers.
    """
    return tuple(_tensor(stream) for stream in (codes if isinstance(codes, tuple | list) else (codes,)))


def _tensor(codes: object) -> Tensor:
    if isinstance(codes, Tensor):
        return codes
    array = np.asarray(codes) if hasattr(codes, "__array__") else None
    if array is None or array.dtype.kind not in "iu":
        raise ShapeError(f"codes must be tensors of integers; got {type(codes).__name__ if array is None else array.dtype}")
    return torch.from_numpy(array.astype(np.int64))  # a copy, for PyTorch takes no array that runs backwards


def equal_rows(keys: Tensor) -> list[Tensor]:
    """Return groups of row numbers whose keys [rows, n] are equal."""
    if not len(keys):
        return []
    _, group = keys.cpu().unique(dim=0, return_inverse=True)
    return [torch.nonzero(group == g).flatten() for g in range(int(group.max()) + 1)]


def take_rows(tokens: Tokens, items: Tensor) -> Tokens:
    """Return items of one length, without the padding behind them."""
    lengths = tokens.lengths[items]
    streams = tuple(codes[items, :, :n] for codes, n in zip(tokens.streams, lengths[0].tolist(), strict=True))
    return dataclasses.replace(
        tokens,
        streams=streams,
        lengths=lengths,
        n_samples=tokens.n_samples[items],
        side={name: used_side(values[items], streams[0].shape[-1], tokens.side_period) for name, values in tokens.side.items()},
    )


def join_rows(parts: list[Encoded], rows: Tensor) -> Encoded:
    """Put encoded groups back in the order of the batch, padded with zeros to the longest."""
    order = rows.argsort().to(parts[0][0][0].device)
    streams = tuple(_stack([part[0][i] for part in parts])[order] for i in range(len(parts[0][0])))
    side = {name: _stack([part[1][name] for part in parts])[order] for name in parts[0][1]}
    return streams, side


def _stack(pieces: list[Tensor]) -> Tensor:
    longest = max(piece.shape[-1] for piece in pieces)
    return torch.cat([nn.functional.pad(piece, (0, longest - piece.shape[-1])) for piece in pieces])


def zero_beyond(codes: Tensor, lengths: Tensor) -> Tensor:
    """Return codes [batch, codebooks, frames] with zeros behind the frames [batch] that each item has."""
    if not codes.numel() or int(lengths.min()) == codes.shape[-1]:
        return codes
    beyond = torch.arange(codes.shape[-1], device=codes.device) >= lengths.to(codes.device)[:, None]
    return codes.masked_fill(beyond[:, None], 0)
