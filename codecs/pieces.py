"""Frames of one item as arrays: what goes in and out of token files, and what codecs without torch make and take."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .errors import CheckpointError, ShapeError
from .tokenfile_header import Header

if TYPE_CHECKING:
    from .tokens import Tokens


@dataclass(frozen=True, eq=False)
class Piece:
    """Frames of one item; `Tokens` are the same in tensors, and of a batch.

    Attributes:
        header: who made them, and how they lie; its `n_samples` is not the piece's.
        streams: int64 [codebooks, frames], one array per frame rate, coarse first.
        n_samples: samples that they stand for, 0 where the audio goes on and only the whole will be counted.
        side: float32 [segments] numbers that travel with the codes.
    """

    header: Header
    streams: tuple[np.ndarray, ...]
    n_samples: int
    side: Mapping[str, np.ndarray] = field(default_factory=dict)


def piece_of(tokens: "Tokens") -> Piece:
    """Return the only item of tokens, cut to the frames that it uses.

    Raises:
        TokenFileError: if they exceed what a token file holds.
    """
    item = tokens[0]
    streams = tuple(codes[0].detach().cpu().numpy() for codes in item.streams)
    side = {name: values[0].detach().cpu().float().numpy() for name, values in item.side.items()}
    return Piece(Header.of(item), streams, int(item.n_samples[0]), side)


def chunk_frames(metadata: Mapping[str, str]) -> int:
    """Return the frames of each of the chunks that the codes of a long `.dac` file lie in, 0 for those of all else."""
    chunk = metadata.get("dac_chunk_length", "")
    return int(chunk) if metadata.get("dac_padding") == "false" and chunk.isdecimal() else 0


def check_row(metadata: Mapping[str, str]) -> None:
    """Raise ShapeError for codes that are not frame after frame, and so cannot be decoded piece by piece."""
    if chunk := chunk_frames(metadata):
        raise ShapeError(
            f"these codes are of a .dac file in chunks of {chunk} frames that overlap, which only their whole tells apart: "
            "give the .dac file itself to `codec decode`, or all of its tokens to codec.decode"
        )


def check_maker(made: "Header | Tokens", name: str, weights_hash: str, any_weights: bool = False) -> None:
    """Raise CheckpointError unless the codec of this name, with these weights, made what the header or the tokens tell of."""
    if made.codec != name:
        raise CheckpointError(f"these tokens were made by {made.codec}, not by {name}: load that codec to decode them")
    if made.weights_hash and made.weights_hash != weights_hash and not any_weights:
        raise CheckpointError(
            f"these tokens were made by {made.codec} with weights {made.weights_hash}, and these weights are {weights_hash}: "
            "use the weights that made them, or pass any_weights (--any-weights) to decode anyway"
        )
