"""Masks for models that write all frames at once and choose again where they are unsure.

Sources: Chang et al., "MaskGIT", 2022 (the cosine schedule, keeping the surest); Ziv et al., "Masked Audio Generation using a
Single Non-Autoregressive Transformer" (MAGNeT), 2024 (spans).
"""

import math

import torch
from torch import Tensor

from ..codecs.errors import ShapeError


def cosine_schedule(step: int, steps: int) -> float:
    """Return the share of frames that is masked before step `step` of `steps`: cos(pi step / (2 steps))."""
    return math.cos(math.pi / 2 * step / steps)


def masked_share(frames: int, spans: int, span: int) -> float:
    """Return the share of frames that `spans` spans with different random starts cover: 1 - C(T - l, u) / C(T, u).

    Source: MAGNeT, section 3.2; spans that begin before the end go on at the beginning, so that the share is exact.
    """
    if spans > frames - span:
        return 1.0
    logs = [math.lgamma(frames - span - i + 1) - math.lgamma(frames - i + 1) for i in (0, spans)]
    return 1 - math.exp(logs[0] - logs[1])


def spans_for(frames: int, share: float, span: int) -> int:
    """Return the number of spans whose share of masked frames is nearest to `share`."""
    return min(range(frames + 1), key=lambda spans: abs(masked_share(frames, spans, span) - share))


def span_mask(
    batch: int,
    frames: int,
    share: float,
    span: int = 3,
    lengths: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return bool [batch, frames], true where frames are masked, in spans of `span` frames that may overlap.

    Args:
        batch: items.
        frames: of the longest item.
        share: of its frames that is masked on average, 0 to 1.
        span: frames that are masked together (MAGNeT: 3 of EnCodec's at 50 Hz, 60 ms).
        lengths: frames in use of each item; the others are never masked.
        generator: of random numbers, on the CPU.

    Raises:
        ShapeError: if the share or the span is out of range.
    """
    if not 0 <= share <= 1 or span < 1:
        raise ShapeError(f"the share of masked frames must be from 0 to 1 and a span at least 1 frame; got {share} and {span}")
    out = torch.zeros(batch, frames, dtype=torch.bool)
    for row, n in zip(out, [frames] * batch if lengths is None else lengths.tolist(), strict=True):
        own = min(span, n)
        starts = torch.randperm(n, generator=generator)[: spans_for(n, share, own)]
        row[(starts[:, None] + torch.arange(own)) % max(n, 1)] = True
    return out


def hide(codes: Tensor, mask: Tensor, stage: int, special: int) -> tuple[Tensor, Tensor]:
    """Hide codes from a masked model that writes codebook after codebook.

    Args:
        codes: [batch, codebooks, frames].
        mask: bool [batch, frames] of the frames to hide in codebook `stage`.
        stage: the codebook that is written; those before it are seen, those after it are hidden.
        special: token that stands for hidden codes.

    Returns:
        The codes that the model sees, and bool [batch, codebooks, frames], true where it is to predict.
    """
    rank = torch.arange(codes.shape[1], device=codes.device)[:, None]
    wanted = mask.to(codes.device)[:, None] & (rank == stage)
    return codes.masked_fill(wanted | (rank > stage), special), wanted


def remask(confidence: Tensor, fixed: Tensor, share: float, span: int = 1) -> Tensor:
    """Return bool [batch, frames]: the frames of which a model is least sure, to be written again.

    Args:
        confidence: of each frame's code [batch, frames], higher is surer.
        fixed: bool [batch, frames] of frames that must stay (a prompt).
        share: of the frames that are not fixed, to be masked.
        span: frames that are masked together; the least sure span goes by its surest frame.
    """
    batch, frames = confidence.shape
    score = confidence.masked_fill(fixed, torch.inf)
    cells = torch.nn.functional.pad(score, (0, -frames % span), value=-torch.inf).reshape(batch, -1, span).amax(-1)
    free = (~fixed).sum(1)
    count = ((free * share) / span).round().long()
    order = cells.argsort(dim=1).argsort(dim=1)
    chosen = (order < count[:, None]).repeat_interleave(span, dim=1)[:, :frames]
    return chosen & ~fixed
