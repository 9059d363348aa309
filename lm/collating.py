"""Recordings' tokens as one batch of a language model: codes of equal length, a mask of what is audio, and lengths."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..codecs.errors import ShapeError
from ..codecs.tokens import Tokens


def collate(items: Sequence[Tokens], padding: int = 0) -> dict[str, Any]:
    """Return tokens as a batch: the `collate_fn` of a `torch.utils.data.DataLoader` over shards.

    Args:
        items: of one codec and as many codebooks each; each may be a batch itself.
        padding: what stands in the frames after an item's end.

    Returns:
        `codes`, int64 [batch, codebooks, frames], as many frames as the longest item has; `attention_mask`, bool
        [batch, frames], true where an item has frames; `lengths`, int64 [batch], frames of each item. Of a codec with several
        streams each of the three is a tuple, coarse first.

    Raises:
        ShapeError: if there is no item, or they are not of one codec, its weights and as many codebooks.
    """
    _check(items)
    lengths = torch.cat([item.lengths for item in items])
    batches = [_joined(items, number, lengths[:, number], padding) for number in range(lengths.shape[1])]
    if len(batches) == 1:
        return batches[0]
    return {name: tuple(batch[name] for batch in batches) for name in batches[0]}


def _check(items: Sequence[Tokens]) -> None:
    kinds = {(item.codec, item.weights_hash, tuple(map(len, item.codebook_sizes))) for item in items}
    if len(kinds) != 1:
        told = [f"{sum(books)} codebooks of {codec} with weights {weights}" for codec, weights, books in sorted(kinds)]
        raise ShapeError(
            f"a batch has items of one codec, its weights and as many codebooks; got {' and '.join(told) or 'none'}"
        )


def _joined(items: Sequence[Tokens], stream: int, lengths: Tensor, padding: int) -> dict[str, Tensor]:
    longest, first = int(lengths.amax()) if len(lengths) else 0, items[0].streams[stream]
    codes = first.new_full((len(lengths), first.shape[1], longest), padding)
    row = 0
    for item in items:
        own = item.streams[stream][..., :longest]
        codes[row : row + item.batch, :, : own.shape[-1]] = own
        row += item.batch
    mask = torch.arange(longest) < lengths[:, None].cpu()
    return {"codes": codes.masked_fill_(~mask[:, None].to(codes.device), padding), "attention_mask": mask, "lengths": lengths}
