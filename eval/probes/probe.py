"""Probes: embeddings of codes mixed by attention over codebooks, then classes by attentive pooling or characters by LSTMs.

Discrete embeddings learned by the probe and attention over codebooks as in Mousavi et al., "DASB - Discrete Audio and Speech
Benchmark", 2024; pooling: Okabe et al., "Attentive Statistics Pooling for Deep Speaker Embedding", 2018.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

WIDTH = 64
DROPOUT = 0.2


class CodeFront(nn.Module):
    """Codes [batch, frames, codebooks] to [batch, frames, WIDTH]: one table per codebook, summed with weights that add up to 1.

    Weights begin coarse first, each codebook's about a third of the one before: where all begin alike, the fine ones, of whose
    codes each is seldom seen, drown the coarse ones, and eight codebooks tell less than the first of them. Both this and the
    tables' first deviation were chosen on a fifth of what digits are learned from.

    Args:
        sizes: of the codebooks.
    """

    first: Tensor

    def __init__(self, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.tables = nn.Embedding(sum(sizes), WIDTH)
        nn.init.normal_(self.tables.weight, std=0.1)
        self.register_buffer("first", torch.tensor([0, *sizes[:-1]]).cumsum(0))
        self.score = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1))
        self.bias = nn.Parameter(-torch.arange(len(sizes), dtype=torch.float32))

    def forward(self, codes: Tensor) -> Tensor:
        """Return the mixed embeddings."""
        embedded, weights = self.attend(codes)
        return (embedded * weights[..., None]).sum(2)

    def attend(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Return embeddings [batch, frames, codebooks, WIDTH] and the weights [batch, frames, codebooks] of their sum."""
        embedded = self.tables(codes + self.first)
        return embedded, (self.score(embedded)[..., 0] + self.bias).softmax(-1)


class FeatureFront(nn.Module):
    """Features [batch, frames, dimension] to [batch, frames, WIDTH], each dimension set to mean 0 and variance 1 before.

    Args:
        mean, deviation: [dimension], of what is learned from.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation.clamp(min=1e-5))
        self.project = nn.Linear(len(mean), WIDTH)

    def forward(self, features: Tensor) -> Tensor:
        """Return the projection."""
        return self.project((features.float() - self.mean) / self.deviation)


class Classifier(nn.Module):
    """Scores of classes from the mean and deviation over time, weighted by attention, of one convolution's output.

    Args:
        front: to [batch, frames, WIDTH].
        classes: how many.
    """

    def __init__(self, front: nn.Module, classes: int) -> None:
        super().__init__()
        self.front = front
        self.conv = nn.Conv1d(WIDTH, WIDTH, 5, padding=2)
        self.attention = nn.Linear(WIDTH, 1)
        self.head = nn.Sequential(nn.LayerNorm(2 * WIDTH), nn.Dropout(DROPOUT), nn.Linear(2 * WIDTH, classes))
        self.drop = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return scores [batch, classes] of inputs [batch, frames, ...] with `lengths` frames in use."""
        used = torch.arange(x.shape[1], device=x.device) < lengths[:, None]  # [batch, frames]
        x = self.drop(self.front(x)) * used[..., None]
        x = x + self.conv(x.transpose(1, 2)).transpose(1, 2).relu()
        weights = self.attention(x)[..., 0].masked_fill(~used, -torch.inf).softmax(1)[..., None]
        mean = (weights * x).sum(1)
        variance = (weights * (x - mean[:, None]).square()).sum(1)
        return self.head(torch.cat([mean, (variance + 1e-6).sqrt()], dim=1))


class Transcriber(nn.Module):
    """Log-probabilities of characters per frame, 0 the blank, by two bidirectional LSTMs.

    Args:
        front: to [batch, frames, WIDTH].
        characters: how many, the blank included.
        repeats: of every frame, since CTC gives at most one character for each.
        joined: frames that are heard as one.
    """

    def __init__(self, front: nn.Module, characters: int, repeats: int = 1, joined: int = 1) -> None:
        super().__init__()
        self.front, self.repeats, self.joined = front, repeats, joined
        self.layers = nn.ModuleList([BothWays(joined * WIDTH, 2 * WIDTH), BothWays(4 * WIDTH, 2 * WIDTH)])
        self.phase = nn.Parameter(0.1 * torch.randn(repeats, WIDTH))  # tells repeated frames apart
        self.head = nn.Linear(4 * WIDTH, characters)
        self.drop = nn.Dropout(DROPOUT)

    def frames(self, lengths: Tensor) -> Tensor:
        """Return how many frames come out for so many."""
        return (lengths * self.repeats + self.joined - 1) // self.joined

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return [batch, frames(all), characters] of inputs [batch, all, ...] with `lengths` frames in use."""
        used = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        x = (self.drop(self.front(x))[:, :, None] + self.phase) * used[..., None, None]
        x = x.flatten(1, 2)
        x = pad(x, (0, 0, 0, -x.shape[1] % self.joined)).unflatten(1, (-1, self.joined)).flatten(2)
        for layer in self.layers:
            x = self.drop(layer(x, self.frames(lengths)))
        return self.head(x).log_softmax(-1)


class BothWays(nn.Module):
    """An LSTM over the frames and one over the frames in reverse, each item's own: [batch, frames, 2 * width].

    PyTorch's bidirectional one would begin in the padding; told of lengths, it takes four times as long on a processor.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.ahead, self.back = (nn.LSTM(channels, width, batch_first=True) for _ in range(2))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return what both have heard up to each frame; of what lies beyond `lengths` nothing is heard before."""
        place = torch.arange(x.shape[1], device=x.device)
        order = torch.where(place < lengths[:, None], lengths[:, None] - 1 - place, place)
        items = torch.arange(len(x), device=x.device)[:, None]
        return torch.cat([self.ahead(x)[0], self.back(x[items, order])[0][items, order]], dim=-1)
