"""Codes at a variable rate: equal codes that follow one another as one, with its length, after which nothing is lost.

Units of speech come so (Cho et al., "Sylber: Syllabic Embedding Representation of Speech from Raw Audio", 2024; Lakhotia et
al., "On Generative Spoken Language Modeling from Raw Audio", 2021, without the lengths).
"""

import torch
from torch import Tensor

from ..codecs.errors import ShapeError


def to_runs(codes: Tensor, longest: int) -> Tensor:
    """Return codes [batch, 1, frames] as [batch, 2, runs]: the code of each run, and its frames less 1.

    Args:
        codes: of one codebook.
        longest: frames of a run; longer ones become several.

    Raises:
        ShapeError: if there are several codebooks, or items have unequal numbers of runs.
    """
    if codes.ndim != 3 or codes.shape[1] != 1:
        raise ShapeError(f"runs are of codes [batch, 1, frames]; got {list(codes.shape)}")
    items = [_split(row[0], longest) for row in codes]
    if len({item.shape[-1] for item in items}) > 1:
        raise ShapeError("items differ in their number of runs: turn them into ids one by one")
    return torch.stack(items) if items else codes.new_zeros(0, 2, 0)


def from_runs(runs: Tensor) -> Tensor:
    """Return the codes [batch, 1, frames] of runs [batch, 2, runs].

    Raises:
        ShapeError: if items have unequal numbers of frames.
    """
    items = [code.repeat_interleave(frames + 1) for code, frames in runs.unbind(0)]
    if len({len(item) for item in items}) > 1:
        raise ShapeError("items differ in their number of frames: turn ids into codes one by one")
    return torch.stack(items)[:, None] if items else runs.new_zeros(0, 1, 0)


def _split(frame_codes: Tensor, longest: int) -> Tensor:
    """Return runs [2, n] of which none is longer than `longest`, the last of a long one with what is left."""
    codes, frames = frame_codes.unique_consecutive(return_counts=True)
    parts = (frames + longest - 1) // longest
    last = parts.cumsum(0) - 1
    lengths = torch.full((int(parts.sum()),), longest, device=codes.device, dtype=codes.dtype)
    lengths[last] = frames - (parts - 1) * longest
    return torch.stack([codes.repeat_interleave(parts), lengths - 1])
