"""Whole files of any length in constant memory: a codec that is not causal works on them in the chunks of its streams."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .chunking import ChunkedDecoder, ChunkedEncoder, Plan

if TYPE_CHECKING:
    from .base import Codec, Encoded

PIECE_SECONDS = 5.0  # a piece's activations take some 60 MB a second in the widest codec


def encode_long(codec: "Codec", waveform: Tensor, codebooks: int, piece: "Callable[[Tensor, int], Encoded]") -> "Encoded":
    """Code a waveform [batch, channels, samples] by `piece`, in exact chunks where it is longer than the longest of them."""
    encoder = ChunkedEncoder(codec, waveform.shape[0], codebooks, seconds=PIECE_SECONDS)
    if waveform.shape[-1] <= longest(encoder.plan):
        return piece(waveform, codebooks)
    (start, _), (end, _) = encoder._push(waveform), encoder._flush()
    return tuple(torch.cat(pair, dim=-1) for pair in zip(start, end, strict=True)), {}


def decode_long(
    codec: "Codec", streams: tuple[Tensor, ...], piece: Callable[[tuple[Tensor, ...]], Tensor], context: int | None = None
) -> Tensor:
    """Sound codes by `piece`, in exact chunks where they are longer than the longest of them.

    `context` in samples is what the decoder sees on either side, the codec's receptive field by default.
    """
    decoder = ChunkedDecoder(codec, streams[0].shape[0], context, PIECE_SECONDS)
    if streams[0].shape[-1] * codec.spec.streams[0].hop <= longest(decoder.plan):
        return piece(streams)
    return torch.cat([decoder._push(streams, {}), decoder._flush()], dim=-1)


def longest(plan: Plan) -> int:
    """Return the most samples that a chunk takes with its context: what is behind, two contexts, itself and what follows."""
    return (plan.chunk + 4 * plan.context + 1) * plan.unit
