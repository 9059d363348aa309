"""Distances of a codec's features to a teacher's; both are [batch, frames, dimensions], cut to the shorter one's frames.

Sources: D-axis and T-axis: Zhang et al., "SpeechTokenizer", 2023, section 3.3; mean square after the quantizer: Ye et al.,
"Codec Does Matter" (X-Codec), 2024; cosine of the first codebook: Défossez et al., "Moshi", 2024, section 3.3.2; a text
model as teacher: Ahasan et al., "DM-Codec", 2024, section 3.3.

The released code of SpeechTokenizer and DM-Codec stores teachers' features with a batch axis of their own, so that its
losses compare [batch, frames, dim] with [batch, 1, frames, dim]: one frame, with a cosine over the batch. Here such shapes
are refused, and the losses are those of the papers.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...codecs.errors import ShapeError


def aligned(features: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Return both in float32, cut to the frames that both have, the teacher without gradient.

    Raises:
        ShapeError: if they are not [batch, frames, dimensions] of one batch and one width.
    """
    if (
        features.ndim != 3
        or teacher.ndim != 3
        or (features.shape[0], features.shape[2]) != (teacher.shape[0], teacher.shape[2])
    ):
        raise ShapeError(
            "features and teacher are [batch, frames, dimensions] with one batch and one width: project the features, "
            f"and drop axes of one; got {list(features.shape)} and {list(teacher.shape)}"
        )
    frames = min(features.shape[1], teacher.shape[1])
    return features[:, :frames].float(), teacher[:, :frames].detach().float()


def frame_mask(lengths: Tensor | None, like: Tensor) -> Tensor:
    """Return which frames of `like` [batch, frames, dim] count, [batch, frames, 1]: the first `lengths` [batch], or all."""
    frames = torch.arange(like.shape[1], device=like.device)
    if lengths is None:
        return torch.ones_like(like[..., :1])
    return (frames < lengths.to(like.device)[:, None])[..., None].to(like.dtype)


def frame_mean(features: Tensor, mask: Tensor) -> Tensor:
    """Return the mean [batch, 1, dim] of the frames that count."""
    return (features * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)


class DAxis(nn.Module):
    """SpeechTokenizer's: minus log sigmoid of the cosine over time of each dimension, mean over dimensions and items.

    Args:
        centred: take each dimension's mean over the item's frames from both, so that the cosine is a correlation. The
            published loss leaves it in: where a teacher's means are large, an offset that tells nothing makes it small.
    """

    def __init__(self, centred: bool = False) -> None:
        super().__init__()
        self.centred = centred

    def forward(self, features: Tensor, teacher: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the loss; `lengths` [batch] is how many frames of each item count."""
        features, teacher = aligned(features, teacher)
        mask = frame_mask(lengths, features)
        if self.centred:
            features, teacher = features - frame_mean(features, mask), teacher - frame_mean(teacher, mask)
        return -F.logsigmoid(F.cosine_similarity(features * mask, teacher * mask, dim=1)).mean()


class TAxis(nn.Module):
    """SpeechTokenizer's other: mean absolute difference, and minus log sigmoid of each frame's cosine times `similarity`."""

    def __init__(self, similarity: float = 1.0) -> None:
        super().__init__()
        self.similarity = similarity

    def forward(self, features: Tensor, teacher: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the loss; `lengths` [batch] is how many frames of each item count."""
        features, teacher = aligned(features, teacher)
        mask = frame_mask(lengths, features)
        alike = -F.logsigmoid(F.cosine_similarity(features, teacher, dim=2))[..., None]
        apart = (features - teacher).abs().mean(2, keepdim=True)
        return ((apart + self.similarity * alike) * mask).sum() / mask.sum().clamp(min=1)


class SemanticMSE(nn.Module):
    """X-Codec's: mean square difference of the semantic decoder's output, made from quantized latents, and the teacher."""

    def forward(self, features: Tensor, teacher: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the loss; `lengths` [batch] is how many frames of each item count."""
        features, teacher = aligned(features, teacher)
        mask = frame_mask(lengths, features)
        return ((features - teacher).square() * mask).sum() / (mask.sum() * features.shape[2]).clamp(min=1)


class CosineDistance(nn.Module):
    """Mimi's: one minus the cosine of each frame, mean over frames.

    Args:
        kernel: frames of the teacher that are averaged into one; Mimi takes 8 of WavLM's 50 per second.
        stride: frames from one average to the next; 4 bring 50 to 12.5 per second. 1 leaves the teacher as it is.
    """

    def __init__(self, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, features: Tensor, teacher: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the loss; `lengths` [batch] is how many frames of each item's features count."""
        features, teacher = aligned(features, pool_frames(teacher, self.kernel, self.stride))
        mask = frame_mask(lengths, features)
        apart = 1 - F.cosine_similarity(features, teacher, dim=2)[..., None]
        return (apart * mask).sum() / mask.sum().clamp(min=1)


class LanguageGuided(nn.Module):
    """DM-Codec's: the weighted sum of one distance to several teachers, a speech model and a language model.

    Args:
        weights: teacher's name -> weight; halves of `speech` and `text` are the published average.
        distance: `DAxis` unless given.
    """

    def __init__(self, weights: Mapping[str, float] | None = None, distance: nn.Module | None = None) -> None:
        super().__init__()
        self.weights = dict(weights or {"speech": 0.5, "text": 0.5})
        self.distance = distance or DAxis()

    def forward(self, features: Tensor, teachers: Mapping[str, Tensor], lengths: Tensor | None = None) -> Tensor:
        """Return the loss of features [batch, frames, dim] and teachers, name -> [batch, frames, dim].

        Raises:
            ShapeError: if a teacher is missing, or the shapes do not fit.
        """
        if missing := set(self.weights) - set(teachers):
            raise ShapeError(f"features of {', '.join(sorted(missing))} are missing: give every teacher that has a weight")
        return torch.stack([w * self.distance(features, teachers[name], lengths) for name, w in self.weights.items()]).sum()


def pool_frames(features: Tensor, kernel: int, stride: int) -> Tensor:
    """Return features [batch, frames, dim] averaged over `kernel` frames every `stride`, which lie in their middle."""
    if kernel == stride == 1:
        return features
    edge = (kernel - stride) // 2
    pooled = F.avg_pool1d(features.transpose(1, 2), kernel, stride, padding=edge, count_include_pad=False, ceil_mode=True)
    return pooled.transpose(1, 2)


def spread_tokens(features: Tensor, spans: Sequence[tuple[float, float]], frames: int, frame_rate: float) -> Tensor:
    """Lay a text model's features over the frames in which their words sound.

    DM-Codec's released code puts token i at frame i, whenever it is spoken; with spans from an aligner or a CTC recogniser
    this puts it where it belongs.

    Args:
        features: [tokens, dim].
        spans: (from, to) in seconds of each token.
        frames: how many to fill.
        frame_rate: frames per second.

    Returns:
        [frames, dim]; frames in which no token sounds are zero.
    """
    if len(spans) != len(features):
        raise ShapeError(f"every token needs its span in seconds; got {len(features)} tokens and {len(spans)} spans")
    laid = features.new_zeros(frames, features.shape[1])
    for token, (start, end) in zip(features, spans, strict=True):
        first = round(start * frame_rate)
        laid[first : max(first + 1, round(end * frame_rate))] = token
    return laid
